// Label and field selectors: from the text in a URL, or from a LabelSelector object, to a predicate over objects.

import { badRequest } from '../errors.ts'
import { type JsonObject, objectAt, objectsAt, stringAt, stringsAt } from '../json.ts'
import type { ResourceType } from '../registry/resource-type.ts'

export type Predicate = (object: JsonObject) => boolean

const labelsOf = (object: JsonObject): JsonObject => objectAt(object, 'metadata', 'labels')

/** Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k`. Throws BadRequest on anything else. */
export function labelSelector(text: string): Predicate | undefined {
  if (text.trim() === '') return undefined
  const requirements = splitRequirements(text).map((part) => labelRequirement(part, text))
  return (object) => {
    const labels = labelsOf(object)
    return requirements.every((matches) => matches(labels))
  }
}

// Commas separate requirements, except inside the parentheses of a set.
function splitRequirements(text: string): readonly string[] {
  return (text.match(/(?:[^,(]|\([^)]*\)?)+/g) ?? []).map((part) => part.trim())
}

function labelRequirement(part: string, whole: string): Predicate {
  const set = /^([^\s!=,()]+)\s+(in|notin)\s*\(([^)]*)\)$/.exec(part)
  if (set !== null) {
    const [, key = '', operator, list = ''] = set
    const values = new Set(list.split(',').map((value) => value.trim()))
    const included: Predicate = (labels) => values.has(String(labels[key] ?? '')) && labels[key] !== undefined
    return operator === 'in' ? included : (labels) => !included(labels)
  }
  const equality = /^([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)$/.exec(part)
  if (equality !== null) {
    const [, key = '', operator, value = ''] = equality
    return operator === '!=' ? (labels) => labels[key] !== value : (labels) => labels[key] === value
  }
  const presence = /^(!?)\s*([^\s!=,()]+)$/.exec(part)
  if (presence === null) throw badRequest(`unable to parse requirement: found '${part}' in label selector "${whole}"`)
  const [, not, key = ''] = presence
  return not === '!' ? (labels) => labels[key] === undefined : (labels) => labels[key] !== undefined
}

/** A LabelSelector object (matchLabels, matchExpressions) as a predicate over a map of labels. An empty one matches all. */
export function labelSelectorMatches(selector: JsonObject, labels: JsonObject): boolean {
  const equal = Object.entries(objectAt(selector, 'matchLabels')).every(([key, value]) => labels[key] === value)
  return equal && objectsAt(selector, 'matchExpressions').every((requirement) => expressionMatches(requirement, labels))
}

function expressionMatches(requirement: JsonObject, labels: JsonObject): boolean {
  const key = stringAt(requirement, 'key') ?? ''
  const value = stringAt(labels, key)
  const values = stringsAt(requirement, 'values')
  switch (stringAt(requirement, 'operator')) {
    case 'In':
      return value !== undefined && values.includes(value)
    case 'NotIn':
      return value === undefined || !values.includes(value)
    case 'Exists':
      return value !== undefined
    default:
      return value === undefined
  }
}

/** Parses `metadata.name=x,spec.nodeName!=y` for a kind. Throws BadRequest on a field that the kind does not select by. */
export function fieldSelector(text: string, type: ResourceType): Predicate | undefined {
  if (text.trim() === '') return undefined
  const requirements = text.split(',').map((part) => {
    const match = /^([^!=]+?)(==|=|!=)(.*)$/.exec(part.trim())
    if (match === null) throw badRequest(`invalid selector: '${text}'; can't understand '${part}'`)
    const [, field = '', operator, value = ''] = match
    const read = standardFields[field] ?? type.fieldSelectors[field]
    if (read === undefined)
      throw badRequest(
        `Unable to find "${type.plural}" that match label selector "", field selector "${text}": field label not supported: ${field}`,
      )
    return (object: JsonObject): boolean => (read(object) === value) === (operator !== '!=')
  })
  return (object) => requirements.every((matches) => matches(object))
}

const standardFields: ResourceType['fieldSelectors'] = {
  'metadata.name': (object) => stringAt(object, 'metadata', 'name') ?? '',
  'metadata.namespace': (object) => stringAt(object, 'metadata', 'namespace') ?? '',
}
