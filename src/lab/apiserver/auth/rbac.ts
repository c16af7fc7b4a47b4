// RBAC: whether the roles bound to a user allow a request. Reads the stored roles and bindings at every request, so that a new
// binding counts at once. Source: Kubernetes' rbac.authorization.k8s.io rules.

import { type JsonObject, objectAt, objectsAt, stringAt, stringsAt } from '../json.ts'
import { labelSelectorMatches } from '../resources/selectors.ts'
import type { Store } from '../storage/store.ts'
import type { User } from './user.ts'

/** What is to be allowed: a verb on a resource, or on a path. */
export type Attributes = ResourceAttributes | NonResourceAttributes

export interface ResourceAttributes {
  readonly verb: string
  readonly group: string
  /** With its subresource: `pods/status`. */
  readonly resource: string
  readonly namespace: string
  readonly name: string
}

export interface NonResourceAttributes {
  readonly verb: string
  readonly path: string
}

const rbac = 'rbac.authorization.k8s.io'

export type Rule = JsonObject

/** Whether `user` may. system:masters may everything. */
export function isAllowed(store: Store, user: User, attributes: Attributes): boolean {
  if (user.groups.includes('system:masters')) return true
  const namespace = 'path' in attributes ? '' : attributes.namespace
  return rulesFor(store, user, namespace).some((rule) => ruleAllows(rule, attributes))
}

/** The rules that bindings give a user, cluster-wide and in one namespace (empty: cluster-wide only). */
export function rulesFor(store: Store, user: User, namespace: string): readonly Rule[] {
  const clusterRules = store
    .list(`${rbac}/clusterrolebindings`)
    .filter((binding) => bindsTo(binding.object, user, ''))
    .flatMap((binding) => rulesOf(store, binding.object, ''))
  if (namespace === '') return clusterRules
  const localRules = store
    .list(`${rbac}/rolebindings`, namespace)
    .filter((binding) => bindsTo(binding.object, user, namespace))
    .flatMap((binding) => rulesOf(store, binding.object, namespace))
  return [...clusterRules, ...localRules]
}

function bindsTo(binding: JsonObject, user: User, namespace: string): boolean {
  return objectsAt(binding, 'subjects').some((subject) => {
    const name = stringAt(subject, 'name') ?? ''
    switch (stringAt(subject, 'kind')) {
      case 'User':
        return user.name === name
      case 'Group':
        return user.groups.includes(name)
      case 'ServiceAccount':
        return user.name === `system:serviceaccount:${stringAt(subject, 'namespace') ?? namespace}:${name}`
      default:
        return false
    }
  })
}

function rulesOf(store: Store, binding: JsonObject, namespace: string): readonly Rule[] {
  const name = stringAt(binding, 'roleRef', 'name') ?? ''
  const isClusterRole = stringAt(binding, 'roleRef', 'kind') === 'ClusterRole'
  const role = isClusterRole ? store.get(`${rbac}/clusterroles`, '', name) : store.get(`${rbac}/roles`, namespace, name)
  return role === undefined ? [] : [...objectsAt(role.object, 'rules'), ...aggregatedRules(store, role.object)]
}

// An aggregating ClusterRole has the rules of every ClusterRole that its selectors find.
function aggregatedRules(store: Store, role: JsonObject): readonly Rule[] {
  const selectors = objectsAt(role, 'aggregationRule', 'clusterRoleSelectors')
  if (selectors.length === 0) return []
  return store
    .list(`${rbac}/clusterroles`)
    .filter(({ object }) =>
      selectors.some((selector) => labelSelectorMatches(selector, objectAt(object, 'metadata', 'labels'))),
    )
    .flatMap(({ object }) => objectsAt(object, 'rules'))
}

const has = (list: readonly string[], value: string): boolean => list.includes('*') || list.includes(value)

/** Whether one rule allows it. */
export function ruleAllows(rule: Rule, attributes: Attributes): boolean {
  if (!has(stringsAt(rule, 'verbs'), attributes.verb)) return false
  if ('path' in attributes) return stringsAt(rule, 'nonResourceURLs').some((url) => pathMatches(url, attributes.path))
  if (!has(stringsAt(rule, 'apiGroups'), attributes.group)) return false
  if (!stringsAt(rule, 'resources').some((resource) => resourceMatches(resource, attributes.resource))) return false
  const names = stringsAt(rule, 'resourceNames')
  return names.length === 0 || names.includes(attributes.name)
}

// `*` means every resource and subresource, `*/status` one subresource of every resource.
function resourceMatches(rule: string, resource: string): boolean {
  if (rule === '*' || rule === resource) return true
  const [, subresource] = resource.split('/')
  return subresource !== undefined && rule === `*/${subresource}`
}

const pathMatches = (rule: string, path: string): boolean =>
  rule === '*' || rule === path || (rule.endsWith('*') && path.startsWith(rule.slice(0, -1)))
