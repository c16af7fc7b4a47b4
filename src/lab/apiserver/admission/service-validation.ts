// What a Service spec may not say, in the API server's wording, as far as Bellhop or its users meet it.

import { parseIp } from '../../../net/ip.ts'
import { parsePrefix } from '../../../net/prefix.ts'
import type { FieldProblem } from '../errors.ts'
import { type Json, type JsonObject, numberAt, objectsAt, stringAt, stringsAt } from '../json.ts'

const problem = (reason: string, path: string, message: string): FieldProblem => ({ reason, path, message })
const invalid = (path: string, value: Json | undefined, because: string): FieldProblem =>
  problem('FieldValueInvalid', path, `Invalid value: ${JSON.stringify(value ?? null)}: ${because}`)
const required = (path: string, because = ''): FieldProblem =>
  problem('FieldValueRequired', path, because === '' ? 'Required value' : `Required value: ${because}`)
const forbidden = (path: string, because: string): FieldProblem =>
  problem('FieldValueForbidden', path, `Forbidden: ${because}`)

function oneOf(spec: JsonObject, field: string, path: string, values: readonly string[]): readonly FieldProblem[] {
  const value = stringAt(spec, field)
  if (value === undefined || values.includes(value)) return []
  const list = values.map((each) => JSON.stringify(each)).join(', ')
  return [
    problem('FieldValueNotSupported', path, `Unsupported value: ${JSON.stringify(value)}: supported values: ${list}`),
  ]
}

/** The problems of a defaulted spec; `old` is the stored spec on update. */
export function serviceProblems(spec: JsonObject, old: JsonObject | undefined): readonly FieldProblem[] {
  return [
    ...oneOf(spec, 'type', 'spec.type', ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort']),
    ...oneOf(spec, 'sessionAffinity', 'spec.sessionAffinity', ['ClientIP', 'None']),
    ...oneOf(spec, 'externalTrafficPolicy', 'spec.externalTrafficPolicy', ['Cluster', 'Local']),
    ...oneOf(spec, 'internalTrafficPolicy', 'spec.internalTrafficPolicy', ['Cluster', 'Local']),
    ...portProblems(spec),
    ...typeProblems(spec),
    ...externalProblems(spec),
    ...(old === undefined ? [] : updateProblems(spec, old)),
  ]
}

function portProblems(spec: JsonObject): readonly FieldProblem[] {
  const ports = objectsAt(spec, 'ports')
  const optional = stringAt(spec, 'type') === 'ExternalName' || stringAt(spec, 'clusterIP') === 'None'
  if (ports.length === 0) return optional ? [] : [required('spec.ports')]
  const names = new Set<string>()
  const numbers = new Set<string>()
  return ports.flatMap((port, i) => {
    const path = `spec.ports[${i}]`
    const name = stringAt(port, 'name') ?? ''
    const problems: FieldProblem[] = [...oneOf(port, 'protocol', `${path}.protocol`, ['SCTP', 'TCP', 'UDP'])]
    if (name === '' && ports.length > 1) problems.push(required(`${path}.name`))
    if (name !== '' && !/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name))
      problems.push(invalid(`${path}.name`, name, labelRule))
    if (name !== '' && names.has(name))
      problems.push(problem('FieldValueDuplicate', `${path}.name`, `Duplicate value: "${name}"`))
    names.add(name)
    problems.push(...numberProblems(port, path))
    const key = `${stringAt(port, 'protocol')}/${numberAt(port, 'port')}`
    if (numbers.has(key)) {
      const shown = `{"port":${numberAt(port, 'port')},"protocol":"${stringAt(port, 'protocol')}"}`
      problems.push(problem('FieldValueDuplicate', path, `Duplicate value: ${shown}`))
    }
    numbers.add(key)
    return problems
  })
}

export const labelRule =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"

function numberProblems(port: JsonObject, path: string): readonly FieldProblem[] {
  const outOfRange = (value: number | undefined): boolean => value === undefined || value < 1 || value > 65535
  const problems: FieldProblem[] = []
  const range = 'must be between 1 and 65535, inclusive'
  if (outOfRange(numberAt(port, 'port'))) problems.push(invalid(`${path}.port`, numberAt(port, 'port') ?? 0, range))
  const target = port['targetPort']
  if (typeof target === 'number' && outOfRange(target)) problems.push(invalid(`${path}.targetPort`, target, range))
  if (typeof target === 'string' && !/^(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$/.test(target))
    problems.push(
      invalid(`${path}.targetPort`, target, 'must be no more than 15 characters, lower case alphanumeric or "-"'),
    )
  return problems
}

function typeProblems(spec: JsonObject): readonly FieldProblem[] {
  const type = stringAt(spec, 'type')
  const problems: FieldProblem[] = []
  if (type === 'ExternalName') {
    if ((stringAt(spec, 'externalName') ?? '') === '') problems.push(required('spec.externalName'))
    if (stringsAt(spec, 'clusterIPs').length > 0)
      problems.push(forbidden('spec.clusterIPs', 'may not be set when `type` is ExternalName'))
    return problems
  }
  if (type === 'LoadBalancer' && stringAt(spec, 'clusterIP') === 'None')
    problems.push(invalid('spec.clusterIPs[0]', 'None', "may not be set to 'None' for LoadBalancer services"))
  if (type === 'NodePort' && stringAt(spec, 'clusterIP') === 'None')
    problems.push(invalid('spec.clusterIPs[0]', 'None', "may not be set to 'None' for NodePort services"))
  if (type === 'ClusterIP')
    for (const [i, port] of objectsAt(spec, 'ports').entries())
      if ((numberAt(port, 'nodePort') ?? 0) !== 0)
        problems.push(forbidden(`spec.ports[${i}].nodePort`, "may not be used when `type` is 'ClusterIP'"))
  if (type !== 'LoadBalancer' && spec['loadBalancerClass'] !== undefined)
    problems.push(forbidden('spec.loadBalancerClass', "may only be used when `type` is 'LoadBalancer'"))
  if (type !== 'LoadBalancer' && spec['allocateLoadBalancerNodePorts'] !== undefined)
    problems.push(forbidden('spec.allocateLoadBalancerNodePorts', "may only be used when `type` is 'LoadBalancer'"))
  return problems
}

function externalProblems(spec: JsonObject): readonly FieldProblem[] {
  const type = stringAt(spec, 'type')
  const problems: FieldProblem[] = []
  const external = type === 'LoadBalancer' || type === 'NodePort' || stringsAt(spec, 'externalIPs').length > 0
  if (!external && spec['externalTrafficPolicy'] !== undefined)
    problems.push(
      invalid(
        'spec.externalTrafficPolicy',
        spec['externalTrafficPolicy'],
        'may only be set for externally-accessible services',
      ),
    )
  const local = type === 'LoadBalancer' && stringAt(spec, 'externalTrafficPolicy') === 'Local'
  if (!local && (numberAt(spec, 'healthCheckNodePort') ?? 0) !== 0)
    problems.push(
      invalid(
        'spec.healthCheckNodePort',
        spec['healthCheckNodePort'],
        "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
      ),
    )
  for (const [i, text] of stringsAt(spec, 'externalIPs').entries())
    if (!parseIp(text).ok)
      problems.push(
        invalid(`spec.externalIPs[${i}]`, text, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
      )
  const ranges = stringsAt(spec, 'loadBalancerSourceRanges')
  if (ranges.length > 0 && type !== 'LoadBalancer')
    problems.push(forbidden('spec.LoadBalancerSourceRanges', "may only be used when `type` is 'LoadBalancer'"))
  for (const [i, text] of ranges.entries())
    if (!parsePrefix(text.trim()).ok)
      problems.push(
        invalid(
          `spec.loadBalancerSourceRanges[${i}]`,
          text,
          'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
        ),
      )
  return problems
}

function updateProblems(spec: JsonObject, old: JsonObject): readonly FieldProblem[] {
  const problems: FieldProblem[] = []
  const hadAddress = stringAt(old, 'type') !== 'ExternalName' && (stringAt(old, 'clusterIP') ?? '') !== ''
  if (
    hadAddress &&
    stringAt(spec, 'type') !== 'ExternalName' &&
    stringAt(spec, 'clusterIP') !== stringAt(old, 'clusterIP')
  )
    problems.push(invalid('spec.clusterIPs[0]', spec['clusterIPs'] ?? spec['clusterIP'], 'may not change once set'))
  const bothLoadBalancers = stringAt(spec, 'type') === 'LoadBalancer' && stringAt(old, 'type') === 'LoadBalancer'
  if (bothLoadBalancers && stringAt(spec, 'loadBalancerClass') !== stringAt(old, 'loadBalancerClass'))
    problems.push(invalid('spec.loadBalancerClass', spec['loadBalancerClass'], 'may not change once set'))
  return problems
}
