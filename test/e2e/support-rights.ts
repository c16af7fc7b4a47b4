// What Bellhop's programs ask of the API server, beside what deploy/ allows them: a right that is asked for and not given is a
// refusal that a user would meet, and one that is given and never asked for is a right too many.

import { readFileSync } from 'node:fs'
import path from 'node:path'
import { parseAllDocuments } from 'yaml'
import type { RequestInfo, ResourceRequest } from '../../src/lab/apiserver/http/request-info.ts'
import type { ApiServerHandle } from '../../src/lab/apiserver/server.ts'
import { repositoryRoot } from '../../src/lab/netns/node-program.ts'
import { isObject, listAt } from '../deploy/rendered.ts'

export interface RecordedRights {
  /** As `list discovery.k8s.io/endpointslices`, sorted. */
  readonly asked: () => readonly string[]
}

/** Writes down what the programs of a role ask the embedded server for, from now on. */
export function recordRights(server: ApiServerHandle, role: 'controller' | 'agent'): RecordedRights {
  const asked = new Set<string>()
  const record = ({ resource, userAgent }: RequestInfo): false => {
    if (resource !== undefined && userAgent.startsWith('bellhop/') && userAgent.includes(`(${role}`))
      asked.add(rightOf(resource))
    return false
  }
  // A fault that meets nobody sees every request.
  server.faults.inject({ kind: 'delay', milliseconds: 0 }, { matches: record })
  return { asked: () => [...asked].sort() }
}

const rightOf = ({ verb, group, resource, subresource }: ResourceRequest): string =>
  `${verb} ${group}/${resource}${subresource === '' ? '' : `/${subresource}`}`

/** All rights of the roles in these manifests, sorted. */
export function grantedRights(...files: readonly string[]): readonly string[] {
  const documents = files.flatMap((file) => parseAllDocuments(readFileSync(path.join(repositoryRoot, file), 'utf8')))
  const rules = documents.flatMap((document) => listAt(document.toJS(), 'rules').filter(isObject))
  const rights = rules.flatMap((rule) =>
    listAt(rule, 'verbs').flatMap((verb) =>
      listAt(rule, 'apiGroups').flatMap((group) =>
        listAt(rule, 'resources').map((resource) => `${verb} ${group}/${resource}`),
      ),
    ),
  )
  return [...new Set(rights)].sort()
}

/** Events of an agent, which speak of trouble; and the creation of its Lease, which it applies. */
export const notSeenOfAgents: ReadonlySet<string> = new Set([
  'create /events',
  'patch /events',
  'create coordination.k8s.io/leases',
])

/** Lines of a program's log that speak of a refused request. */
export const refusalsIn = (output: string): readonly string[] =>
  output.split('\n').filter((line) => line.includes('"status":403') || / is forbidden: /.test(line))
