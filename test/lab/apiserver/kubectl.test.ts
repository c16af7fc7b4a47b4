// The real kubectl against the lab's server: what a person types and reads. BELLHOP_KUBECTL names the binary; otherwise PATH does.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type ClusterControllers,
  startClusterControllers,
} from '../../../src/lab/apiserver/cluster-controllers/cluster-controllers.ts'
import { type ApiServerHandle, startApiServer } from '../../../src/lab/apiserver/server.ts'
import { kubectlProgram } from '../../../src/lab/requirements.ts'
import { describeWith } from '../../support/privileges.ts'
import { eventually, widgetCrd } from './support.ts'

const kubectl = kubectlProgram()

interface Outcome {
  readonly code: number
  readonly out: string
  readonly err: string
}

let server: ApiServerHandle
let controllers: ClusterControllers
let folder: string

beforeAll(async () => {
  server = await startApiServer({
    authorization: 'RBAC',
    tokens: { 'token-of-joe': { user: 'joe' } },
    podDeletion: 'immediate',
  })
  controllers = startClusterControllers(server.cluster)
  folder = mkdtempSync(path.join(tmpdir(), 'bellhop-kubectl-'))
  writeFileSync(path.join(folder, 'admin'), server.kubeconfig())
  writeFileSync(path.join(folder, 'joe'), server.kubeconfig('token-of-joe'))
})
afterAll(async () => {
  controllers.stop()
  await server.stop()
  rmSync(folder, { recursive: true })
})

const options = (user: string): readonly string[] => [
  '--kubeconfig',
  path.join(folder, user),
  '--cache-dir',
  path.join(folder, 'cache'),
]

function run(args: readonly string[], stdin = '', user = 'admin'): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = execFile(kubectl, [...options(user), ...args], { timeout: 20_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), out, err })
    })
    child.stdin?.end(stdin)
  })
}

/** Runs and returns what is printed; fails with what is complained about. */
async function ok(line: string, stdin = '', user = 'admin'): Promise<string> {
  const { code, out, err } = await run(line.split(' '), stdin, user)
  if (code !== 0) throw new Error(`kubectl ${line}: ${err}`)
  return out.trim()
}

/** Runs and returns the complaint. */
async function refused(line: string, stdin = '', user = 'admin'): Promise<string> {
  const { code, out, err } = await run(line.split(' '), stdin, user)
  if (code === 0) throw new Error(`kubectl ${line} was expected to fail, but said: ${out}`)
  return err.trim()
}

const service = (name: string, ports: string, more = ''): string =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {type: LoadBalancer, selector: {app: web}, ports: ${ports}${more}}\n`

const widget = (name: string, spec: string): string =>
  `apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: ${name}}\nspec: ${spec}\n`

describeWith({ programs: [kubectl] }, 'kubectl', () => {
  test('knows the server and its kinds', async () => {
    expect(await ok('version')).toContain('Server Version: v1.32')
    const kinds = await ok('api-resources -o name')
    for (const name of [
      'services',
      'endpointslices.discovery.k8s.io',
      'deployments.apps',
      'leases.coordination.k8s.io',
    ])
      expect(kinds.split('\n')).toContain(name)
  })

  describe('apply', () => {
    test('creates, leaves alone, configures, and takes away what is no longer there', async () => {
      expect(await ok('apply -f -', service('web', '[{name: a, port: 80}, {name: b, port: 81}]'))).toBe(
        'service/web created',
      )
      expect(await ok('apply -f -', service('web', '[{name: a, port: 80}, {name: b, port: 81}]'))).toBe(
        'service/web unchanged',
      )
      const before = await ok('get svc web -o jsonpath={.spec.ports[0].nodePort}')
      expect(await ok('apply -f -', service('web', '[{name: a, port: 80}]'))).toBe('service/web configured')
      expect(await ok('get svc web -o jsonpath={.spec.ports[*].port}')).toBe('80')
      expect(await ok('get svc web -o jsonpath={.spec.ports[0].nodePort}')).toBe(before)
    })

    test('refuses unknown fields, and invalid ones with the server’s words', async () => {
      expect(await refused('apply -f -', service('bad', '[{port: 80}]', ', colour: red'))).toContain(
        'strict decoding error: unknown field "spec.colour"',
      )
      expect(await refused('apply -f -', service('bad', '[{port: 0}]'))).toContain(
        'spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive',
      )
    })

    test('says of a kind that is not installed that it is not', async () => {
      expect(await refused('apply -f -', 'apiVersion: example.net/v1\nkind: Missing\nmetadata: {name: m}\n')).toContain(
        'no matches for kind "Missing" in version "example.net/v1"',
      )
    })

    test('--server-side reports a conflict and overcomes it with --force-conflicts', async () => {
      await ok('apply --server-side --field-manager=one -f -', service('ssa', '[{port: 80, name: a}]'))
      const conflict = await refused(
        'apply --server-side --field-manager=two -f -',
        service('ssa', '[{port: 80, name: b}]'),
      )
      expect(conflict).toContain(
        'Apply failed with 1 conflict: conflict with "one": .spec.ports[port=80,protocol="TCP"].name',
      )
      const forced = 'apply --server-side --field-manager=two --force-conflicts -f -'
      expect(await ok(forced, service('ssa', '[{port: 80, name: b}]'))).toBe('service/ssa serverside-applied')
      expect(await ok('get svc ssa -o jsonpath={.spec.ports[*].name}')).toBe('b')
    })

    test('moves from client-side to server-side', async () => {
      await ok('apply -f -', service('moves', '[{port: 80, name: a}]'))
      await ok('apply --server-side -f -', service('moves', '[{port: 81, name: b}]'))
      expect(await ok('get svc moves -o jsonpath={.spec.ports[*].port}')).toBe('81')
    })

    test('--dry-run=server and diff change nothing', async () => {
      expect(await ok('apply --dry-run=server -f -', service('dry', '[{port: 80}]'))).toBe(
        'service/dry created (server dry run)',
      )
      expect(await refused('get svc dry')).toContain('services "dry" not found')
      await ok('apply -f -', service('differs', '[{port: 80}]'))
      const { code, out } = await run(['diff', '-f', '-'], service('differs', '[{port: 88}]'))
      expect([code, out]).toEqual([1, expect.stringMatching(/^\+ +(- )?port: 88$/m)])
    })
  })

  describe('get', () => {
    test('prints the columns that people know', async () => {
      await ok('apply -f -', service('columns', '[{port: 80, nodePort: 30123}]', ', clusterIP: 10.96.7.7'))
      const [header = '', row = ''] = (await ok('get svc columns -o wide')).split('\n')
      expect(header.split(/\s{2,}/)).toEqual([
        'NAME',
        'TYPE',
        'CLUSTER-IP',
        'EXTERNAL-IP',
        'PORT(S)',
        'AGE',
        'SELECTOR',
      ])
      expect(row.split(/\s{2,}/)).toEqual([
        'columns',
        'LoadBalancer',
        '10.96.7.7',
        '<pending>',
        '80:30123/TCP',
        expect.stringMatching(/^\ds$/),
        'app=web',
      ])
    })

    test('takes selectors, namespaces and output formats', async () => {
      expect(await ok('get ns -l kubernetes.io/metadata.name=default -o name')).toBe('namespace/default')
      expect(await ok('get svc -A --field-selector metadata.name=kubernetes -o name')).toBe('service/kubernetes')
      expect(await ok('get svc kubernetes -o custom-columns=IP:.spec.clusterIP --no-headers')).toBe('10.96.0.1')
      expect(await ok('get svc kubernetes -o yaml')).toContain('clusterIP: 10.96.0.1')
    })

    test.each([
      ['-o name', ['-o', 'name'], /^configmap\/followed/, /^configmap\/followed/],
      ['a table', [], /^followed\s+0/, /^followed\s+1/],
    ])('-w follows changes as %s', async (_what, format, before, after) => {
      await ok('create configmap followed')
      const { lines, child } = following(['get', 'cm', 'followed', '-w', '--no-headers', ...format])
      try {
        await eventually(lines).toEqual([expect.stringMatching(before)])
        await ok('patch cm followed --type=merge -p {"data":{"a":"b"}}')
        await eventually(lines).toEqual([expect.stringMatching(before), expect.stringMatching(after)])
      } finally {
        child.kill()
        await ok('delete cm followed')
      }
    })
  })

  test('patches in every way, labels, annotates, edits in place', async () => {
    await ok('apply -f -', service('patched', '[{name: a, port: 80}, {name: b, port: 81}]'))
    await ok('patch svc patched -p {"spec":{"ports":[{"port":80,"name":"first"}]}}')
    expect(await ok('get svc patched -o jsonpath={.spec.ports[*].name}')).toBe('first b')
    await ok('patch svc patched --type=json -p [{"op":"replace","path":"/spec/ports/1/name","value":"second"}]')
    await ok('patch svc patched --type=merge -p {"spec":{"externalTrafficPolicy":"Local"}}')
    expect(await ok('get svc patched -o jsonpath={.spec.ports[*].name},{.spec.externalTrafficPolicy}')).toBe(
      'first second,Local',
    )
    expect(await ok('label svc patched tier=front')).toBe('service/patched labeled')
    expect(await refused('label svc patched tier=back')).toContain(
      'already has a value (front), and --overwrite is false',
    )
    expect(await ok('label svc patched tier-')).toBe('service/patched unlabeled')
    expect(await ok('annotate svc patched bellhop.io/pool=blue')).toBe('service/patched annotated')
    const status = '{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.7"}]}}}'
    await ok(`patch svc patched --subresource=status --type=merge -p ${status}`)
    expect(await ok('get svc patched --no-headers')).toContain('203.0.113.7')
    expect(await ok('replace -f -', service('patched', '[{port: 90}]'))).toBe('service/patched replaced')
  })

  test('describes', async () => {
    await ok('apply -f -', service('described', '[{port: 80}]'))
    expect(await ok('describe svc described')).toMatch(/Type:\s+LoadBalancer/)
    expect(await ok('describe ns default')).toMatch(/Status:\s+Active/)
  })

  test('explains built-in fields', async () => {
    const text = await ok('explain service.spec.ports')
    expect(text).toContain('FIELD: ports <[]ServicePort>')
    expect(text).toMatch(/nodePort\s+<integer>/)
    expect(await refused('explain service.spec.colour')).toContain('field "colour" does not exist')
  })

  test('creates with its typed commands, which send protocol buffers since 1.32', async () => {
    expect(await ok('create namespace typed')).toBe('namespace/typed created')
    for (const line of [
      'service loadbalancer lb --tcp=80:8080',
      'secret generic s --from-literal=password=x',
      'configmap c --from-literal=a=b',
      'serviceaccount sa',
      'role reader --verb=get,list --resource=pods',
      'rolebinding rb --role=reader --serviceaccount=typed:sa',
      'pdb budget --selector=app=web --min-available=1',
      'deployment d --image=x --replicas=0 --port=80',
    ])
      expect(await ok(`create -n typed ${line}`)).toMatch(/ created$/)
    expect(await ok('get svc lb -n typed -o jsonpath={.spec.ports[0].targetPort}')).toBe('8080')
    expect(await ok('get secret s -n typed -o jsonpath={.data.password}')).toBe('eA==')
    expect(await ok('get role reader -n typed -o jsonpath={.rules[0].verbs}')).toBe('["get","list"]')
    expect(
      await ok(
        'get deploy d -n typed -o jsonpath={.spec.replicas}{.spec.template.spec.containers[0].ports[0].containerPort}',
      ),
    ).toBe('080')
    expect(await ok('create -n typed token sa')).toMatch(/^sa-/)
    expect(await ok('delete ns typed --timeout=10s')).toBe('namespace "typed" deleted')
  })

  describe('custom resources', () => {
    test('are served as soon as their definition is established', async () => {
      await ok('apply -f -', JSON.stringify(widgetCrd))
      await ok('wait --for=condition=established crd/widgets.example.com --timeout=5s')
      expect(await ok('apply -f -', widget('w', '{size: 5}'))).toBe('widget.example.com/w created')
      const [header = '', row = ''] = (await ok('get wd')).split('\n')
      expect([header.split(/\s+/), row.split(/\s+/).slice(0, 2)]).toEqual([
        ['NAME', 'SIZE', 'AGE'],
        ['w', '5'],
      ])
    })

    test('are validated by their schema', async () => {
      expect(await refused('apply -f -', widget('x', '{size: 0}'))).toContain('spec.size: Invalid value: 0')
      expect(await refused('apply -f -', widget('x', '{colour: red}'))).toContain('unknown field "spec.colour"')
      expect(await refused('patch wd w -p {}')).toContain('not supported')
    })

    test('are explained with their own descriptions', async () => {
      expect(await ok('explain widget.spec')).toContain('How large it is.')
    })

    test('are scaled and waited for', async () => {
      expect(await ok('scale wd w --replicas=3')).toBe('widget.example.com/w scaled')
      const waiting = ok('wait wd/w --for=jsonpath={.status.phase}=Up --timeout=10s')
      await ok('patch wd w --subresource=status --type=merge -p {"status":{"phase":"Up"}}')
      expect(await waiting).toBe('widget.example.com/w condition met')
    })

    test('with a finalizer are deleted when it is gone', async () => {
      await ok('patch wd w --type=merge -p {"metadata":{"finalizers":["example.com/hold"]}}')
      const deleting = ok('delete wd w --timeout=15s')
      await eventually(() => ok('get wd w -o jsonpath={.metadata.deletionTimestamp}')).not.toBe('')
      await ok('patch wd w --type=merge -p {"metadata":{"finalizers":null}}')
      expect(await deleting).toContain('"w" deleted')
    })

    test('go with their definition', async () => {
      await ok('apply -f -', widget('last', '{size: 1}'))
      await ok('delete crd widgets.example.com --timeout=10s')
      expect(await refused('get wd')).toMatch(/doesn't have a resource type|could not find the requested resource/)
    })
  })

  test('auth can-i and whoami say what RBAC allows', async () => {
    expect(await ok('auth can-i create services')).toBe('yes')
    expect(await ok('auth whoami -o jsonpath={.status.userInfo.username}', '', 'joe')).toBe('joe')
    expect((await run(['auth', 'can-i', 'create', 'services'], '', 'joe')).out.trim()).toBe('no')
    expect(await refused('get services', '', 'joe')).toContain(
      'User "joe" cannot list resource "services" in API group ""',
    )
    await ok('create clusterrole service-reader --verb=get,list --resource=services')
    await ok('create clusterrolebinding joe --clusterrole=service-reader --user=joe')
    expect(await ok('get svc kubernetes -o name', '', 'joe')).toBe('service/kubernetes')
    expect(await ok('auth can-i --list', '', 'joe')).toMatch(/services\s+\[\]\s+\[\]\s+\[get list\]/)
  })

  describe('with the cluster’s controllers', () => {
    // Stands in for kubelets: a pod that has a node runs and is ready.
    let stop = (): void => undefined
    beforeAll(() => {
      let last = 0
      const settle = (): void => {
        for (const pod of server.objects.list('v1', 'Pod')) {
          const { metadata, spec, status } = pod as {
            metadata: { name: string; namespace: string }
            spec: { nodeName?: string }
            status: { podIP?: string; conditions?: [] }
          }
          if (spec.nodeName === undefined || status.podIP !== undefined) continue
          last += 1
          const podIP = `10.244.0.${last}`
          const conditions = [...(status.conditions ?? []), { type: 'Ready', status: 'True' }]
          server.objects.update(
            { apiVersion: 'v1', kind: 'Pod', ...metadata },
            (at) => ({ ...at, status: { phase: 'Running', podIP, podIPs: [{ ip: podIP }], conditions } }),
            { subresource: 'status' },
          )
        }
      }
      stop = server.store.listen('/pods', () => setImmediate(settle))
      for (const name of ['n1', 'n2', 'n3'])
        server.objects.put({
          apiVersion: 'v1',
          kind: 'Node',
          metadata: { name },
          status: { conditions: [{ type: 'Ready', status: 'True' }] },
        })
    })
    afterAll(() => stop())

    test('a Deployment gets pods on nodes, and a Service slices', async () => {
      await ok('create deployment web --image=one --replicas=3 --port=8080')
      expect(await ok('rollout status deploy/web --timeout=10s')).toContain('successfully rolled out')
      await ok('expose deploy web --name=exposed --port=80 --target-port=8080')
      const nodes = await ok('get pods -l app=web -o jsonpath={.items[*].spec.nodeName}')
      expect(nodes.split(' ').toSorted()).toEqual(['n1', 'n2', 'n3'])
      const slices =
        'get endpointslices -l kubernetes.io/service-name=exposed -o jsonpath={.items[*].endpoints[*].nodeName}'
      await eventually(async () => (await ok(slices)).split(' ').toSorted()).toEqual(['n1', 'n2', 'n3'])
    })

    test('set image, scale, restart and drain move its pods', async () => {
      await ok('set image deploy/web one=two')
      await ok('rollout status deploy/web --timeout=10s')
      expect(await ok('get pods -l app=web -o jsonpath={.items[*].spec.containers[0].image}')).toBe('two two two')
      await ok('scale deploy web --replicas=1')
      await eventually(async () => (await ok('get pods -l app=web -o name')).split('\n').length).toBe(1)
      await ok('rollout restart deploy/web')
      expect(await ok('rollout status deploy/web --timeout=10s')).toContain('successfully rolled out')
      const node = await ok('get pods -l app=web -o jsonpath={.items[0].spec.nodeName}')
      await ok(`drain ${node} --force --timeout=10s`)
      expect(await ok(`get node ${node} --no-headers`)).toContain('Ready,SchedulingDisabled')
      await eventually(() => ok('get pods -l app=web -o jsonpath={.items[*].spec.nodeName}')).not.toContain(node)
    })

    test('delete takes the pods along', async () => {
      await ok('delete deploy web --timeout=10s')
      await eventually(() => ok('get pods -l app=web -o name')).toBe('')
    })
  })
})

/** The whole lines that a command has printed so far. */
function following(args: readonly string[]): { readonly lines: () => readonly string[]; readonly child: ChildProcess } {
  let text = ''
  const child = spawn(kubectl, [...options('admin'), ...args])
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  return { lines: () => text.split('\n').slice(0, -1), child }
}
