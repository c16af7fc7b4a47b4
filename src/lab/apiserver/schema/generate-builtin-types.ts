// Writes builtin-types.json: which fields the built-in kinds have, as the installed Kubernetes client knows them. Run it
// (`node src/lab/apiserver/schema/generate-builtin-types.ts`) after the client was upgraded or a kind was added to the list.
// The table is generated and kept, not read from the client at run time, because importing the client's 900 models costs
// half a second, and because a bundle can not import by computed name.

import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

/** Fields of one type: name, with `!` appended when required, to type: `string`, `int32`, `[ServicePort]`, `{string}`... */
export type TypeTable = Record<string, Record<string, string>>

const roots = [
  'V1Namespace',
  'V1Node',
  'V1Pod',
  'V1Service',
  'V1Endpoints',
  'V1Secret',
  'V1ConfigMap',
  'CoreV1Event',
  'V1ServiceAccount',
  'V1EndpointSlice',
  'V1Lease',
  'EventsV1Event',
  'V1Deployment',
  'V1DaemonSet',
  'V1ReplicaSet',
  'V1Role',
  'V1ClusterRole',
  'V1RoleBinding',
  'V1ClusterRoleBinding',
  'V1CustomResourceDefinition',
  'V1PodDisruptionBudget',
  'V1NetworkPolicy',
  'V1ServiceCIDR',
  'V1PriorityClass',
  'V1SelfSubjectAccessReview',
  'V1SelfSubjectRulesReview',
  'V1SubjectAccessReview',
  'V1LocalSubjectAccessReview',
  'V1TokenReview',
  'AuthenticationV1TokenRequest',
  'V1Scale',
  'V1Status',
  'V1DeleteOptions',
]

/** Reads the client's models, from the roots to everything they reach. */
export function readBuiltinTypes(): TypeTable {
  const main = createRequire(import.meta.url).resolve('@kubernetes/client-node')
  const models = path.join(path.dirname(main), 'gen', 'models')
  const table: TypeTable = {}
  const queue = [...roots]
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (table[name] !== undefined) continue
    const fields = readModel(models, name)
    table[name] = fields
    for (const type of Object.values(fields)) {
      const inner = type.replaceAll(/[[\]{}]/g, '')
      if (/^[A-Z]/.test(inner) && inner !== 'IntOrString') queue.push(inner)
    }
  }
  return Object.fromEntries(Object.entries(table).sort(([a], [b]) => (a < b ? -1 : 1)))
}

function readModel(folder: string, name: string): Record<string, string> {
  const script = readFileSync(path.join(folder, `${name}.js`), 'utf8')
  const declaration = readFileSync(path.join(folder, `${name}.d.ts`), 'utf8')
  const fields: Record<string, string> = {}
  const rows = script.matchAll(
    /"name": "([^"]+)",\s+"baseName": "([^"]+)",\s+"type": "([^"]+)",\s+"format": "([^"]*)"/g,
  )
  for (const [, property = '', jsonName = '', type = '', format = ''] of rows) {
    const required = declaration.includes(`    '${property}': `)
    fields[required ? `${jsonName}!` : jsonName] = shortType(type, format)
  }
  return fields
}

function shortType(type: string, format: string): string {
  const list = /^Array<(.+)>$/.exec(type)?.[1]
  if (list !== undefined) return `[${shortType(list, format)}]`
  const map = /^\{ \[key: string\]: (.+); \}$/.exec(type)?.[1]
  if (map !== undefined) return `{${shortType(map, format)}}`
  if (type === 'number') return format === '' ? 'int64' : format
  if (type === 'string' && format === 'byte') return 'bytes'
  if (type === 'Date' || type === 'V1MicroTime') return 'time'
  return type
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL('builtin-types.json', import.meta.url), `${JSON.stringify(readBuiltinTypes(), null, 2)}\n`)
}
