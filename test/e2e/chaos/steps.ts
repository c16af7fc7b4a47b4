// What may go wrong, and what people may do meanwhile. Each step is drawn whole from the random numbers (whom, how, for how long) before
// anything of it is done, so that a seed names the same steps on any machine; what the world then makes of them is its own affair.

import type { Fault } from '../../../src/lab/apiserver/faults.ts'
import type { RequestInfo } from '../../../src/lab/apiserver/http/request-info.ts'
import { type JsonObject, objectAt, stringAt, withValue } from '../../../src/lab/apiserver/json.ts'
import type { LabNode } from '../../../src/lab/topology/topology.ts'
import type { Random } from '../../fuzz/runner.ts'
import { nameOf } from './expected.ts'
import { configuration, deployment, peer, pool, service } from './manifests.ts'
import { attempt, type ChaosWorld, nodeRef, pause, type Role, serviceRef } from './world.ts'

/** A step, drawn and not yet taken. */
export interface Step {
  readonly words: string
  /** What it has to itself; a step that finds one of them taken is left out. */
  readonly locks: readonly string[]
  /** Does it, undoes it where it is a fault, and resolves then. */
  readonly take: (world: ChaosWorld) => Promise<void>
}

type Draw = (random: Random, world: ChaosWorld) => Step

/** Draws one step, of these groups. */
export function drawStep(random: Random, world: ChaosWorld, from: readonly string[]): Step {
  return random.pick(groups[random.pick(from)] ?? [])(random, world)
}

/** Between, and including. */
const within = (random: Random, low: number, high: number): number => low + random.below(high - low + 1)
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

const lockOf = (role: Role, node: LabNode): string => `${role} ${node.name}`

// ----------------------------------------------------------------------------------------------------- our programs

const endController: Draw = (random, { homes }) => {
  const node = random.pick(homes)
  const signal = random.pick(['SIGKILL', 'SIGTERM'] as const)
  const downMs = random.pick([0, 0, 1000, 4000, 12_000])
  return {
    words: `${signal} to the controller on ${node.name}, started again after ${seconds(downMs)}`,
    locks: [lockOf('controller', node)],
    take: async ({ programs, disturb }) => {
      const over = await disturb(node)
      await programs.end('controller', node, signal)
      await pause(downMs)
      programs.start('controller', node)
      over()
    },
  }
}

const stopController: Draw = (random, { homes }) => {
  const node = random.pick(homes)
  const stoppedMs = within(random, 1000, 20_000)
  return {
    words: `the controller on ${node.name} is stopped for ${seconds(stoppedMs)}`,
    locks: [lockOf('controller', node)],
    take: async ({ programs, disturb }) => {
      const over = await disturb(node)
      programs.signal('controller', node, 'SIGSTOP')
      await pause(stoppedMs)
      programs.signal('controller', node, 'SIGCONT')
      over()
    },
  }
}

// The node of the untouched Service among them: rules outlive their agent.
const endAgent: Draw = (random, { nodes }) => {
  const node = random.pick(nodes)
  const signal = random.pick(['SIGKILL', 'SIGTERM'] as const)
  const downMs = random.pick([0, 1000, 6000])
  return {
    words: `${signal} to the agent on ${node.name}, started again after ${seconds(downMs)}`,
    locks: [lockOf('agent', node)],
    take: async ({ programs }) => {
      await programs.end('agent', node, signal)
      await pause(downMs)
      programs.start('agent', node)
    },
  }
}

const stopAgent: Draw = (random, { restless }) => {
  const node = random.pick(restless)
  const stoppedMs = within(random, 500, 15_000)
  return {
    words: `the agent on ${node.name} is stopped for ${seconds(stoppedMs)}`,
    locks: [lockOf('agent', node)],
    take: async ({ programs }) => {
      programs.signal('agent', node, 'SIGSTOP')
      await pause(stoppedMs)
      programs.signal('agent', node, 'SIGCONT')
    },
  }
}

// ------------------------------------------------------------------------------------------------------- API server

const ofBellhop = ({ userAgent }: RequestInfo): boolean => userAgent.startsWith('bellhop/')

const apiFault: Draw = (random) => {
  const fault = random.pick<Fault>([
    { kind: 'hang' },
    { kind: 'drop' },
    { kind: 'delay', milliseconds: within(random, 100, 2500) },
    { kind: 'status', code: random.pick([401, 429, 500, 503, 504]) },
    { kind: 'truncate', bytes: within(random, 0, 3000) },
  ])
  const whom = random.pick(['everybody', 'controllers', 'agents', 'writes', 'watches'] as const)
  const lastsMs = within(random, 500, 15_000)
  const matches = (request: RequestInfo): boolean => {
    if (!ofBellhop(request)) return false
    if (whom === 'controllers') return request.userAgent.includes('(controller')
    if (whom === 'agents') return request.userAgent.includes('(agent')
    const verb = request.resource?.verb
    if (whom === 'writes') return !['get', 'list', 'watch', undefined].includes(verb)
    return whom === 'watches' ? verb === 'watch' : true
  }
  return {
    words: `the API server has fault ${JSON.stringify(fault)} for ${whom} for ${seconds(lastsMs)}`,
    locks: ['api fault'],
    take: async ({ api }) => {
      const undo = api.faults.inject(fault, { matches })
      await pause(lastsMs)
      undo()
    },
  }
}

const apiRestart: Draw = (random) => {
  const compacts = random.oneIn(2)
  return {
    words: `the API server starts again${compacts ? ', and has forgotten its history' : ''}`,
    locks: ['api restart'],
    take: async ({ api }) => {
      if (compacts) api.compact()
      await api.restart({ keepData: true })
    },
  }
}

const apiForgets: Draw = () => ({
  words: 'the API server forgets its history',
  locks: [],
  take: async ({ api }) => api.compact(),
})

const leaderCutOff: Draw = (random, { homes }) => {
  const lastsMs = within(random, 1000, 20_000)
  return {
    words: `the leader is cut off from the API server for ${seconds(lastsMs)}`,
    locks: homes.flatMap((node) => [lockOf('controller', node), `cables ${node.name}`]),
    take: async (world) => {
      const lease = world.objects().get({
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        namespace: 'bellhop-system',
        name: 'bellhop-controller',
      })
      const holder = stringAt(lease, 'spec', 'holderIdentity') ?? ''
      const node = homes.find(({ name }) => holder.startsWith(`bellhop-controller-${name}_`))
      if (node === undefined) return
      const over = await world.disturb(node)
      await node.setManagement('down')
      await pause(lastsMs)
      await node.setManagement('up')
      over()
    },
  }
}

// ------------------------------------------------------------------------------------------------------------ leaves

const restartLeaf: Draw = (random, { lab }) => {
  const router = random.pick(lab.routers)
  const signal = random.pick(['SIGKILL', 'SIGTERM'] as const)
  const downMs = random.pick([0, 2000, 11_000])
  return {
    words: `${router.name} (${router.kind}) starts again, ${seconds(downMs)} after ${signal}`,
    locks: [router.name, 'password'],
    take: async ({ excuse, restartLeaf: restart }) => {
      const over = excuse(`${router.name} starts again`)
      await restart(router, signal, downMs)
      over()
    },
  }
}

const resetSession: Draw = (random, { lab, homes }) => {
  const router = random.pick(lab.routers)
  const node = random.pick(homes)
  const downMs = random.pick([0, 1000, 5000])
  return {
    words: `${router.name} ends its session with ${node.name} for ${seconds(downMs)}`,
    locks: [router.name, lockOf('controller', node)],
    take: async ({ disturb }) => {
      const over = await disturb(node)
      await router.shutdown(node.address.ipv4, 'chaos')
      await pause(downMs)
      await router.enable(node.address.ipv4)
      over()
    },
  }
}

const refreshSession: Draw = (random, { lab, homes }) => {
  const router = random.pick(lab.routers)
  const node = random.pick(homes)
  return {
    words: `${router.name} asks ${node.name} for everything again`,
    locks: [router.name, lockOf('controller', node)],
    take: async () => {
      // Refused while there is no session.
      await router.refresh(node.address.ipv4).catch(() => {})
    },
  }
}

const unplugLeaf: Draw = (random, { lab }) => {
  const leaf = random.pick(lab.topology.leaves)
  const downMs = within(random, 500, 12_000)
  return {
    words: `the cable of ${leaf.name} is pulled for ${seconds(downMs)}`,
    locks: [leaf.name],
    take: async ({ excuse }) => {
      const over = excuse(`the cable of ${leaf.name} is pulled`)
      await leaf.setLan('down')
      await pause(downMs)
      await leaf.setLan('up')
      over()
    },
  }
}

// ------------------------------------------------------------------------------------------------------------- nodes

const unplugNode: Draw = (random, { restless, homes }) => {
  const node = random.pick(restless)
  const which = random.pick(['its cable to the routers', 'its cable to the API server', 'all its cables'] as const)
  const downMs = within(random, 500, 15_000)
  return {
    words: `${node.name} loses ${which} for ${seconds(downMs)}`,
    locks: [`cables ${node.name}`, ...(homes.includes(node) ? [lockOf('controller', node)] : [])],
    take: async ({ lab, disturb }) => {
      const over = homes.includes(node) ? await disturb(node) : (): void => {}
      if (which === 'all its cables') await lab.cutOff(node)
      else if (which === 'its cable to the routers') await node.setLan('down')
      else await node.setManagement('down')
      await pause(downMs)
      if (which === 'all its cables') await lab.reconnect(node)
      else if (which === 'its cable to the routers') await node.setLan('up')
      else await node.setManagement('up')
      over()
    },
  }
}

const editNode: Draw = (random, { restless }) => {
  const node = random.pick(restless)
  const lastsMs = within(random, 0, 6000)
  const [key, path, value] = random.pick([
    ['bellhop.io/drain', 'annotations', 'true'],
    ['bellhop.io/next-hop', 'annotations', '10.0.0.999'],
    ['node.kubernetes.io/exclude-from-external-load-balancers', 'labels', ''],
  ] as const)
  const set = (to: string | undefined) => (object: JsonObject) => withValue(object, ['metadata', path, key], to)
  return {
    words: `${node.name} carries ${key}=${value} for ${seconds(lastsMs)}`,
    locks: [`node ${node.name}`],
    take: async (world) => {
      attempt(world, key, (objects) => objects.update(nodeRef(node.name), set(value)))
      await pause(lastsMs)
      attempt(world, key, (objects) => objects.update(nodeRef(node.name), set(undefined)))
    },
  }
}

const deleteNode: Draw = (random, { restless }) => {
  const node = random.pick(restless)
  return {
    words: `Node ${node.name} is deleted, and registers anew`,
    locks: [`node ${node.name}`],
    take: async (world) => attempt(world, 'delete', (objects) => objects.delete(nodeRef(node.name))),
  }
}

const spoilRules: Draw = (random, { restless }) => {
  const node = random.pick(restless)
  const command = random.pick([
    '-F BELLHOP-FORWARD',
    '-D FORWARD -m comment --comment "bellhop: accept connections to VIPs" -j BELLHOP-FORWARD',
  ])
  return {
    words: `somebody runs iptables ${command} on ${node.name}`,
    locks: [],
    take: async () => void (await node.namespace.exec(['sh', '-c', `iptables -w ${command}`])),
  }
}

// -------------------------------------------------------------------------------------------------------------- pods

const editPod: Draw = (random) => {
  const app = random.pick(['web', 'web', 'single'])
  const which = random.below(4)
  const what = random.pick(['unready', 'delete'] as const)
  const lastsMs = within(random, 0, 8000)
  return {
    words: `pod ${which} of ${app}: ${what}${what === 'unready' ? ` for ${seconds(lastsMs)}` : ''}`,
    locks: [],
    take: async (world) => {
      const pods = world
        .objects()
        .list('v1', 'Pod', 'default')
        .filter((each) => stringAt(each, 'metadata', 'labels', 'app') === app)
      const pod = pods[which % Math.max(1, pods.length)]
      if (pod === undefined) return
      const ref = { apiVersion: 'v1', kind: 'Pod', namespace: 'default', name: nameOf(pod) }
      const ready = (to: string) => (object: JsonObject) =>
        withValue(object, ['metadata', 'annotations', 'lab.bellhop.io/ready'], to)
      if (what === 'delete') return attempt(world, 'delete', (objects) => objects.delete(ref))
      attempt(world, 'unready', (objects) => objects.update(ref, ready('false')))
      await pause(lastsMs)
      attempt(world, 'ready', (objects) => objects.update(ref, ready('true')))
    },
  }
}

const scale: Draw = (random) => {
  const app = random.pick(['web', 'single'])
  const replicas = random.pick([0, 1, 2, 3, 4])
  return {
    words: `deployment ${app} is scaled to ${replicas}`,
    locks: [],
    take: async (world) => attempt(world, 'scale', (objects) => objects.put(deployment(app, replicas))),
  }
}

// ---------------------------------------------------------------------------------------------------------- Services

const names = ['s1', 's2', 's3', 's4', 's5', 's6', 's7', 's8'] as const

function drawService(random: Random, name: string): JsonObject {
  const annotations = random.pick<Readonly<Record<string, string>>>([
    {},
    {},
    {},
    { 'bellhop.io/next-hops': 'AllNodes' },
    { 'bellhop.io/endpoint-policy': 'Serving' },
    { 'bellhop.io/ips': `203.0.113.${10 + random.below(4)}` },
    { 'bellhop.io/pool': random.pick(['default', 'second', 'nowhere']) },
  ])
  return service(name, random.pick(['web', 'single']), annotations, {
    externalTrafficPolicy: random.pick(['Local', 'Cluster']),
    ...random.pick<JsonObject>([
      { ipFamilyPolicy: 'SingleStack' },
      { ipFamilyPolicy: 'RequireDualStack' },
      { ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv6'] },
      { ipFamilyPolicy: 'PreferDualStack' },
    ]),
    ...random.pick<JsonObject>([
      {},
      {},
      { loadBalancerClass: 'bellhop.io/bgp' },
      { loadBalancerClass: 'example.com/x' },
    ]),
  })
}

const createService: Draw = (random) => {
  const count = random.pick([1, 1, 3])
  const made = Array.from({ length: count }, () => drawService(random, random.pick(names)))
  return {
    words: `created: ${made.map((each) => `${nameOf(each)} ${JSON.stringify(objectAt(each, 'metadata', 'annotations'))}`).join(', ')}`,
    locks: [],
    take: async (world) => {
      for (const each of made)
        if (world.objects().get(serviceRef(nameOf(each))) === undefined)
          attempt(world, 'create', (objects) => objects.put(each))
    },
  }
}

const deleteService: Draw = (random) => {
  const name = random.pick(names)
  const again = random.oneIn(2) ? drawService(random, name) : undefined
  return {
    words: `Service ${name} is deleted${again === undefined ? '' : ', and made anew at once'}`,
    locks: [],
    take: async (world) => {
      const uid = stringAt(world.objects().get(serviceRef(name)), 'metadata', 'uid')
      attempt(world, 'delete', (objects) => objects.delete(serviceRef(name)))
      if (again === undefined) return
      // As soon as the name is free, which the finalizer decides.
      for (let tries = 0; tries < 3000; tries++) {
        const there = world.objects().get(serviceRef(name))
        if (there === undefined) return attempt(world, 'create', (objects) => objects.put(again))
        if (stringAt(there, 'metadata', 'uid') !== uid) return
        await pause(5)
      }
    },
  }
}

const editService: Draw = (random) => {
  const name = random.pick(names)
  const edits: readonly (readonly [string, (object: JsonObject) => JsonObject])[] = [
    [
      'type ClusterIP',
      (at) =>
        withSpec(at, {
          type: 'ClusterIP',
          loadBalancerClass: undefined,
          externalTrafficPolicy: undefined,
          allocateLoadBalancerNodePorts: undefined,
        }),
    ],
    [
      'type LoadBalancer',
      (at) =>
        withSpec(at, {
          type: 'LoadBalancer',
          ...(stringAt(at, 'spec', 'type') === 'LoadBalancer' ? {} : { loadBalancerClass: undefined }),
        }),
    ],
    ['another class', (at) => withSpec(at, { type: 'LoadBalancer', loadBalancerClass: 'example.com/x' })],
    ['policy Local', (at) => withSpec(at, { externalTrafficPolicy: 'Local' })],
    ['policy Cluster', (at) => withSpec(at, { externalTrafficPolicy: 'Cluster' })],
    [
      'single stack',
      (at) => withSpec(at, { ipFamilyPolicy: 'SingleStack', ipFamilies: undefined, clusterIPs: undefined }),
    ],
    ['dual stack', (at) => withSpec(at, { ipFamilyPolicy: 'RequireDualStack' })],
    ['an address by name', (at) => annotated(at, 'bellhop.io/ips', `203.0.113.${10 + (Number(name.slice(1)) % 4)}`)],
    ['no address by name', (at) => annotated(at, 'bellhop.io/ips', undefined)],
    ['pool second', (at) => annotated(at, 'bellhop.io/pool', 'second')],
    ['pool nowhere', (at) => annotated(at, 'bellhop.io/pool', 'nowhere')],
    ['any pool', (at) => annotated(at, 'bellhop.io/pool', undefined)],
    ['all nodes', (at) => annotated(at, 'bellhop.io/next-hops', 'AllNodes')],
    ['selector web', (at) => withSpec(at, { selector: { app: 'web' } })],
    ['selector single', (at) => withSpec(at, { selector: { app: 'single' } })],
  ]
  const flips = random.oneIn(3)
  const chosen = [random.pick(edits), ...(flips ? [random.pick(edits)] : [])]
  const betweenMs = random.pick([0, 5, 50, 500])
  return {
    words: `Service ${name} gets ${chosen.map(([words]) => words).join(', then ')}`,
    locks: [],
    take: async (world) => {
      for (const [words, change] of chosen) {
        attempt(world, words, (objects) => objects.update(serviceRef(name), change))
        await pause(betweenMs)
      }
    },
  }
}

const withSpec = (at: JsonObject, spec: Readonly<Record<string, JsonObject[string] | undefined>>): JsonObject =>
  Object.entries(spec).reduce((object, [key, value]) => withValue(object, ['spec', key], value), at)
const annotated = (at: JsonObject, key: string, value: string | undefined): JsonObject =>
  withValue(at, ['metadata', 'annotations', key], value)

// ---------------------------------------------------------------------------------------------- Bellhop's own objects

const editPool: Draw = (random) => {
  const edited = random.pick<readonly [string, JsonObject | undefined]>([
    ['is shrunk', pool('default', ['203.0.113.12-203.0.113.15', '2001:db8:1::12-2001:db8:1::15'])],
    ['is tiny', pool('default', ['203.0.113.11', '2001:db8:1::11'])],
    ['moves', pool('default', ['203.0.113.61-203.0.113.80', '2001:db8:1::61-2001:db8:1::80'])],
    [
      'is disabled',
      pool('default', ['203.0.113.10-203.0.113.60', '2001:db8:1::10-2001:db8:1::60'], { disabled: true }),
    ],
    ['holds', pool('default', ['203.0.113.10-203.0.113.60', '2001:db8:1::10-2001:db8:1::60'], { hold: '4s' })],
    ['is nonsense', pool('default', ['203.0.113.20-203.0.113.10'])],
    ['is IPv4 alone', pool('default', ['203.0.113.10-203.0.113.60'])],
    ['is deleted', undefined],
  ])
  const [what, spec] = edited
  const lastsMs = within(random, 0, 6000)
  return {
    words: `VipPool default ${what} for ${seconds(lastsMs)}`,
    locks: ['pool default'],
    take: async (world) => {
      const ref = { apiVersion: 'bellhop.io/v1alpha1', kind: 'VipPool', name: 'default' }
      attempt(world, what, (objects) => (spec === undefined ? objects.delete(ref) : objects.put(spec)))
      await pause(lastsMs)
      attempt(world, 'restore', (objects) => restore(objects, 'VipPool', 'default'))
    },
  }
}

const secondPool: Draw = (random) => {
  const makes = random.oneIn(2)
  const ref = { apiVersion: 'bellhop.io/v1alpha1', kind: 'VipPool', name: 'second' }
  return {
    words: `VipPool second is ${makes ? 'made' : 'deleted'}`,
    locks: ['pool second'],
    take: async (world) =>
      attempt(world, 'second', (objects) =>
        makes
          ? objects.put(
              pool('second', ['203.0.113.90-203.0.113.99', '2001:db8:1::90-2001:db8:1::99'], { autoAssign: false }),
            )
          : objects.delete(ref),
      ),
  }
}

const editPeer: Draw = (random) => {
  const name = random.pick(['leaf1', 'leaf2'] as const)
  const [what, spec] = random.pick<readonly [string, JsonObject | undefined]>([
    ['other timers', peer(name, { timers: { holdSeconds: 6, keepaliveSeconds: 2, connectRetrySeconds: 1 } })],
    ['a shutdown', peer(name, { shutdown: 'chaos' })],
    ['IPv4 alone', peer(name, { families: ['ipv4-unicast'] })],
    ['a Secret that is not there', peer(name, { passwordSecretRef: { name: 'nowhere', key: 'password' } })],
    ['no ADD-PATH', peer(name, { addPath: 'off' })],
    ['another description of the same', peer(name, { port: 179 })],
    ['deletion', undefined],
  ])
  const lastsMs = within(random, 0, 8000)
  return {
    words: `BgpPeer ${name} gets ${what} for ${seconds(lastsMs)}`,
    locks: [`peer ${name}`],
    take: async (world) => {
      const over = world.excuse(`BgpPeer ${name} is edited`)
      const ref = { apiVersion: 'bellhop.io/v1alpha1', kind: 'BgpPeer', name }
      attempt(world, what, (objects) => (spec === undefined ? objects.delete(ref) : objects.put(spec)))
      await pause(lastsMs)
      attempt(world, 'restore', (objects) => restore(objects, 'BgpPeer', name))
      over()
    },
  }
}

const rotatePassword: Draw = (random, { lab }) => {
  const password = `secret-${random.below(1_000_000)}`
  const apartMs = within(random, 0, 4000)
  const lastsMs = within(random, 1000, 6000)
  return {
    words: `all sessions get a password, at the leaves ${seconds(apartMs)} later; for ${seconds(lastsMs)}`,
    locks: ['password', 'peer leaf1', 'peer leaf2', ...lab.routers.map(({ name }) => name)],
    take: async (world) => {
      const over = world.excuse('all sessions get a password')
      const secret = (text: string): JsonObject => ({
        ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'md5', namespace: 'bellhop-system' } },
        data: { password: Buffer.from(text).toString('base64') },
      })
      attempt(world, 'password', (objects) => {
        objects.put(secret(password))
        for (const name of ['leaf1', 'leaf2'] as const)
          objects.put(peer(name, { passwordSecretRef: { name: 'md5', key: 'password' } }))
      })
      await pause(apartMs)
      await world.setPassword(password)
      await pause(lastsMs)
      attempt(world, 'rotation', (objects) => objects.put(secret(`${password}-next`)))
      await pause(apartMs)
      await world.setPassword(`${password}-next`)
      await pause(lastsMs)
      attempt(world, 'restore', (objects) => {
        for (const name of ['leaf1', 'leaf2']) restore(objects, 'BgpPeer', name)
      })
      await world.setPassword(undefined)
      over()
    },
  }
}

const editConf: Draw = (random) => {
  const [what, spec] = random.pick<readonly [string, JsonObject]>([
    ['guards at once', { asn: 64512, drainGraceSeconds: 2, withdrawGuard: { percent: 10, minimumVips: 1 } }],
    ['has a longer grace time', { asn: 64512, drainGraceSeconds: 30 }],
  ])
  const lastsMs = within(random, 0, 8000)
  return {
    words: `the BgpConf ${what} for ${seconds(lastsMs)}`,
    locks: ['conf'],
    take: async (world) => {
      const conf = { apiVersion: 'bellhop.io/v1alpha1', kind: 'BgpConf', metadata: { name: 'default' } }
      attempt(world, what, (objects) => objects.put({ ...conf, spec }))
      await pause(lastsMs)
      attempt(world, 'restore', (objects) => restore(objects, 'BgpConf', 'default'))
    },
  }
}

const editPolicy: Draw = (random) => {
  const spec = random.pick<JsonObject>([
    { communities: ['64512:100'], med: 10 },
    { prepend: 2 },
    { linkBandwidth: 'Endpoints' },
    { announce: false, pools: ['default'] },
  ])
  const lastsMs = within(random, 0, 8000)
  return {
    words: `a BgpPolicy says ${JSON.stringify(spec)} for ${seconds(lastsMs)}`,
    locks: ['policy'],
    take: async (world) => {
      const metadata = { name: 'chaos' }
      attempt(world, 'policy', (objects) =>
        objects.put({ apiVersion: 'bellhop.io/v1alpha1', kind: 'BgpPolicy', metadata, spec }),
      )
      await pause(lastsMs)
      attempt(world, 'policy', (objects) =>
        objects.delete({ apiVersion: 'bellhop.io/v1alpha1', kind: 'BgpPolicy', name: 'chaos' }),
      )
    },
  }
}

const deleteVip: Draw = (random) => {
  const which = random.below(8)
  return {
    words: `somebody deletes Vip ${which} by hand`,
    locks: [],
    take: async (world) => {
      const vips = world
        .objects()
        .list('bellhop.io/v1alpha1', 'Vip')
        .filter((vip) => stringAt(vip, 'spec', 'pool') !== 'calm')
      const vip = vips[which % Math.max(1, vips.length)]
      if (vip === undefined) return
      attempt(world, 'delete', (objects) =>
        objects.delete({ apiVersion: 'bellhop.io/v1alpha1', kind: 'Vip', name: nameOf(vip) }),
      )
    },
  }
}

/** Makes an object of `configuration` what it was. */
export function restore(objects: ReturnType<ChaosWorld['objects']>, kind: string, name: string): void {
  const wanted = configuration().find((each) => each['kind'] === kind && nameOf(each) === name)
  if (wanted !== undefined) objects.put(wanted)
}

/** Within one, each step is as likely as the next. */
const groups: Readonly<Record<string, readonly Draw[]>> = {
  controllers: [endController, endController, stopController],
  agents: [endAgent, stopAgent],
  api: [apiFault, apiFault, apiRestart, apiForgets, leaderCutOff],
  leaves: [restartLeaf, resetSession, resetSession, refreshSession, unplugLeaf],
  nodes: [unplugNode, unplugNode, editNode, editNode, deleteNode, spoilRules],
  pods: [editPod, editPod, editPod, scale],
  services: [createService, createService, deleteService, editService, editService],
  objects: [editPool, editPool, secondPool, editPeer, rotatePassword, editConf, editPolicy, deleteVip],
}

export const groupNames: readonly string[] = Object.keys(groups)
