// The API server, or the way to it, fails: it lies, hangs, starts again, forgets its history, or cannot be reached by the leader.

import type { Fault } from '../../../../src/lab/apiserver/faults.ts'
import type { RequestInfo } from '../../../../src/lab/apiserver/http/request-info.ts'
import { stringAt } from '../../../../src/lab/apiserver/json.ts'
import { pause } from '../world.ts'
import { type Draw, lockOf, seconds, within } from './step.ts'

const ofBellhop = ({ userAgent }: RequestInfo): boolean => userAgent.startsWith('bellhop/')

export const apiFault: Draw = (random) => {
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

export const apiRestart: Draw = (random) => {
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

export const apiForgets: Draw = () => ({
  words: 'the API server forgets its history',
  locks: [],
  take: async ({ api }) => api.compact(),
})

export const leaderCutOff: Draw = (random, { homes }) => {
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
