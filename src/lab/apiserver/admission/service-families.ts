// Which address families a Service has (ipFamilyPolicy, ipFamilies) when its author left some of it open, and which
// combinations are refused. The rules and their order are those of Kubernetes' Service registry.

import { familyOf, type IpFamily, parseIp } from '../../../net/ip.ts'
import type { FieldProblem } from '../errors.ts'
import { type JsonObject, jsonEqual, objectAt, stringAt, stringsAt } from '../json.ts'

export type FamilyDecision =
  | { readonly spec: JsonObject; readonly problems?: undefined }
  | { readonly problems: readonly FieldProblem[] }

const invalid = (path: string, value: string, because: string): FieldProblem => ({
  reason: 'FieldValueInvalid',
  path,
  message: `Invalid value: ${JSON.stringify(value)}: ${because}`,
})

const other = (family: string): IpFamily => (family === 'IPv4' ? 'IPv6' : 'IPv4')

/**
 * Fills ipFamilyPolicy and ipFamilies of a Service spec that is not ExternalName. `old` is the stored spec on update, `configured`
 * the cluster's families, the default one first.
 */
export function decideFamilies(
  spec: JsonObject,
  old: JsonObject | undefined,
  configured: readonly IpFamily[],
): FamilyDecision {
  if (old !== undefined && isUntouchedPreferDualStack(spec, old)) return { spec }
  const headlessWithoutSelector =
    stringAt(spec, 'clusterIP') === 'None' && Object.keys(objectAt(spec, 'selector')).length === 0
  const policy =
    stringAt(spec, 'ipFamilyPolicy') ??
    stringAt(old, 'ipFamilyPolicy') ??
    (headlessWithoutSelector ? 'RequireDualStack' : 'SingleStack')
  const kept = old === undefined ? spec : releaseSecondary(spec, old, policy)
  const clusterIps = stringsAt(kept, 'clusterIPs')
  const asked = stringsAt(kept, 'ipFamilies')
  const problems = [...policyProblems(policy, clusterIps, asked), ...reductionProblems(policy, kept, old)]
  const families = inferFamilies(clusterIps, asked)
  problems.push(...addressProblems(clusterIps, families))
  problems.push(...clusterProblems(stringAt(spec, 'ipFamilyPolicy'), families, configured))
  if (problems.length > 0) return { problems }
  if (families.length === 0) families.push(...configured.slice(0, 1))
  const [first] = families
  const isSingle = policy === 'SingleStack' || configured.length < 2
  if (!isSingle && families.length === 1 && first !== undefined) families.push(other(first))
  return { spec: { ...kept, ipFamilyPolicy: policy, ipFamilies: families } }
}

// A PreferDualStack Service is neither upgraded nor downgraded unless its author asks.
function isUntouchedPreferDualStack(spec: JsonObject, old: JsonObject): boolean {
  return (
    stringAt(spec, 'ipFamilyPolicy') === 'PreferDualStack' &&
    ['ipFamilyPolicy', 'ipFamilies', 'clusterIPs'].every((field) => jsonEqual(spec[field], old[field])) &&
    stringsAt(spec, 'ipFamilies').length > 0
  )
}

// With unchanged lists, the policy SingleStack alone says that the second address is to go.
function releaseSecondary(spec: JsonObject, old: JsonObject, policy: string): JsonObject {
  if (policy !== 'SingleStack') return spec
  const first = (field: string): JsonObject =>
    jsonEqual(spec[field], old[field]) && stringsAt(spec, field).length > 1
      ? { [field]: stringsAt(spec, field).slice(0, 1) }
      : {}
  return { ...spec, ...first('clusterIPs'), ...first('ipFamilies') }
}

function policyProblems(policy: string, clusterIps: readonly string[], families: readonly string[]): FieldProblem[] {
  if (!['SingleStack', 'PreferDualStack', 'RequireDualStack'].includes(policy)) {
    return [
      {
        reason: 'FieldValueNotSupported',
        path: 'spec.ipFamilyPolicy',
        message: `Unsupported value: ${JSON.stringify(policy)}: supported values: "PreferDualStack", "RequireDualStack", "SingleStack"`,
      },
    ]
  }
  if (policy !== 'SingleStack') return []
  const because = (what: string): string =>
    `must be 'RequireDualStack' or 'PreferDualStack' when multiple ${what} are specified`
  return [
    ...(clusterIps.length === 2 ? [invalid('spec.ipFamilyPolicy', policy, because('cluster IPs'))] : []),
    ...(families.length === 2 ? [invalid('spec.ipFamilyPolicy', policy, because('IP families'))] : []),
  ]
}

// What a cluster of one family cannot give.
function clusterProblems(
  policy: string | undefined,
  families: readonly string[],
  configured: readonly IpFamily[],
): readonly FieldProblem[] {
  const missing = families.flatMap((family, i) =>
    configured.some((each) => each === family)
      ? []
      : [invalid(`spec.ipFamilies[${i}]`, family, 'not configured on this cluster')],
  )
  return policy === 'RequireDualStack' && configured.length < 2
    ? [...missing, invalid('spec.ipFamilyPolicy', policy, 'this cluster is not configured for dual-stack services')]
    : missing
}

function reductionProblems(policy: string, spec: JsonObject, old: JsonObject | undefined): FieldProblem[] {
  if (old === undefined || policy === 'SingleStack') return []
  const reduced = (field: string): boolean => stringsAt(spec, field).length === 1 && stringsAt(old, field).length === 2
  return [
    ...(reduced('clusterIPs')
      ? [invalid('spec.ipFamilyPolicy', policy, "must be 'SingleStack' to release the secondary cluster IP")]
      : []),
    ...(reduced('ipFamilies')
      ? [invalid('spec.ipFamilyPolicy', policy, "must be 'SingleStack' to release the secondary IP family")]
      : []),
  ]
}

function inferFamilies(clusterIps: readonly string[], asked: readonly string[]): string[] {
  const families = [...asked]
  for (const [i, text] of clusterIps.entries()) {
    const ip = parseIp(text)
    if (ip.ok && i >= families.length) families.push(familyOf(ip.value))
  }
  return families
}

function addressProblems(clusterIps: readonly string[], families: readonly string[]): FieldProblem[] {
  const problems: FieldProblem[] = []
  for (const [i, family] of families.entries()) {
    if (family !== 'IPv4' && family !== 'IPv6')
      problems.push({
        reason: 'FieldValueNotSupported',
        path: `spec.ipFamilies[${i}]`,
        message: `Unsupported value: ${JSON.stringify(family)}: supported values: "IPv4", "IPv6"`,
      })
  }
  if (families.length === 2 && families[0] === families[1])
    problems.push({
      reason: 'FieldValueDuplicate',
      path: 'spec.ipFamilies[1]',
      message: `Duplicate value: ${JSON.stringify(families[1])}`,
    })
  for (const [i, text] of clusterIps.entries()) {
    if (text === '' || text === 'None') continue
    const ip = parseIp(text)
    if (!ip.ok)
      problems.push(
        invalid(`spec.clusterIPs[${i}]`, text, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
      )
    else if (families[i] !== undefined && families[i] !== familyOf(ip.value))
      problems.push(
        invalid(`spec.clusterIPs[${i}]`, text, `expected an ${families[i]} value as indicated by \`ipFamilies[${i}]\``),
      )
  }
  return problems
}
