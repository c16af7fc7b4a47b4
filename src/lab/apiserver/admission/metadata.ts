// What every object's metadata has to satisfy, and which of its members belong to the server alone.

import { type FieldProblem, invalid } from '../errors.ts'
import { type JsonObject, objectAt, objectsAt, stringAt, stringsAt } from '../json.ts'
import type { NameRule, ResourceType } from '../registry/resource-type.ts'
import { labelRule } from './service-validation.ts'

const subdomainRule =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
const serviceRule =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"

const nameRules: Readonly<
  Record<NameRule, { readonly pattern: RegExp; readonly max: number; readonly because: string }>
> = {
  subdomain: {
    pattern: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
    max: 253,
    because: subdomainRule,
  },
  label: { pattern: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, max: 63, because: labelRule },
  serviceLabel: { pattern: /^[a-z]([-a-z0-9]*[a-z0-9])?$/, max: 63, because: serviceRule },
  path: { pattern: /^(?!\.{1,2}$)[^/%]+$/, max: 253, because: "may not contain '/' or '%', or be '.' or '..'" },
}

const qualifiedName = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/
const labelValue = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/

const quote = (value: unknown): string => JSON.stringify(value)
const wrong = (path: string, value: unknown, because: string): FieldProblem => ({
  reason: 'FieldValueInvalid',
  path,
  message: `Invalid value: ${quote(value)}: ${because}`,
})

/** Throws Invalid where name, labels, annotations, finalizers or owners are not what Kubernetes accepts. */
export function validateMetadata(type: ResourceType, object: JsonObject): void {
  const metadata = objectAt(object, 'metadata')
  const name = stringAt(metadata, 'name') ?? ''
  const rule = nameRules[type.nameRule]
  const problems: FieldProblem[] = []
  if (name === '')
    problems.push({
      reason: 'FieldValueRequired',
      path: 'metadata.name',
      message: 'Required value: name or generateName is required',
    })
  else if (!rule.pattern.test(name)) problems.push(wrong('metadata.name', name, rule.because))
  else if (name.length > rule.max)
    problems.push(wrong('metadata.name', name, `must be no more than ${rule.max} characters`))
  for (const [key, value] of Object.entries(objectAt(metadata, 'labels'))) {
    if (!qualifiedName.test(key)) problems.push(wrong('metadata.labels', key, qualifiedRule))
    if (!labelValue.test(String(value))) problems.push(wrong('metadata.labels', value, labelValueRule))
  }
  for (const key of Object.keys(objectAt(metadata, 'annotations')))
    if (!qualifiedName.test(key.toLowerCase())) problems.push(wrong('metadata.annotations', key, qualifiedRule))
  for (const finalizer of stringsAt(metadata, 'finalizers'))
    if (!qualifiedName.test(finalizer)) problems.push(wrong('metadata.finalizers', finalizer, qualifiedRule))
  for (const [i, owner] of objectsAt(metadata, 'ownerReferences').entries())
    for (const field of ['apiVersion', 'kind', 'name', 'uid'])
      if ((stringAt(owner, field) ?? '') === '')
        problems.push(wrong(`metadata.ownerReferences[${i}].${field}`, '', 'must not be empty'))
  if (problems.length > 0) throw invalid(type, name, problems)
}

const qualifiedRule =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
const labelValueRule =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"

/** New finalizers can not be added to an object that is being deleted. Throws Invalid. */
export function refuseNewFinalizers(type: ResourceType, object: JsonObject, old: JsonObject): void {
  if (stringAt(old, 'metadata', 'deletionTimestamp') === undefined) return
  const before = stringsAt(old, 'metadata', 'finalizers')
  const added = stringsAt(object, 'metadata', 'finalizers').filter((finalizer) => !before.includes(finalizer))
  if (added.length === 0) return
  throw invalid(type, stringAt(object, 'metadata', 'name') ?? '', [
    {
      reason: 'FieldValueForbidden',
      path: 'metadata.finalizers',
      message: `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map(quote).join(', ')}}`,
    },
  ])
}
