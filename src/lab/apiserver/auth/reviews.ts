// The review kinds: objects that are created to ask a question and are answered, never stored. `kubectl auth can-i` lives on
// them.

import { type JsonObject, objectAt, stringAt, stringsAt } from '../json.ts'
import type { Store } from '../storage/store.ts'
import { type Attributes, isAllowed, rulesFor } from './rbac.ts'
import type { TokenAuthenticator } from './tokens.ts'
import type { User } from './user.ts'

export interface ReviewContext {
  readonly store: Store
  readonly tokens: TokenAuthenticator
  readonly user: User
  readonly authorization: 'AlwaysAllow' | 'RBAC'
}

export interface ReviewKind {
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly plural: string
  readonly namespaced: boolean
  /** The status that answers the question. */
  readonly answer: (body: JsonObject, context: ReviewContext) => JsonObject
}

export const reviewKinds: readonly ReviewKind[] = [
  {
    group: 'authorization.k8s.io',
    version: 'v1',
    kind: 'SelfSubjectAccessReview',
    plural: 'selfsubjectaccessreviews',
    namespaced: false,
    answer: (body, context) => access(body, context.user, context),
  },
  {
    group: 'authorization.k8s.io',
    version: 'v1',
    kind: 'SubjectAccessReview',
    plural: 'subjectaccessreviews',
    namespaced: false,
    answer: (body, context) => access(body, subjectOf(body), context),
  },
  {
    group: 'authorization.k8s.io',
    version: 'v1',
    kind: 'LocalSubjectAccessReview',
    plural: 'localsubjectaccessreviews',
    namespaced: true,
    answer: (body, context) => access(body, subjectOf(body), context),
  },
  {
    group: 'authorization.k8s.io',
    version: 'v1',
    kind: 'SelfSubjectRulesReview',
    plural: 'selfsubjectrulesreviews',
    namespaced: false,
    answer: rules,
  },
  {
    group: 'authentication.k8s.io',
    version: 'v1',
    kind: 'SelfSubjectReview',
    plural: 'selfsubjectreviews',
    namespaced: false,
    answer: (_body, context) => ({ userInfo: userInfo(context.user) }),
  },
  {
    group: 'authentication.k8s.io',
    version: 'v1',
    kind: 'TokenReview',
    plural: 'tokenreviews',
    namespaced: false,
    answer: token,
  },
]

const subjectOf = (body: JsonObject): User => ({
  name: stringAt(body, 'spec', 'user') ?? '',
  groups: stringsAt(body, 'spec', 'groups'),
})

function access(body: JsonObject, user: User, context: ReviewContext): JsonObject {
  const allowed = context.authorization === 'AlwaysAllow' || isAllowed(context.store, user, attributesOf(body))
  return { allowed }
}

function attributesOf(body: JsonObject): Attributes {
  const path = stringAt(body, 'spec', 'nonResourceAttributes', 'path')
  if (path !== undefined) return { verb: stringAt(body, 'spec', 'nonResourceAttributes', 'verb') ?? '', path }
  const asked = objectAt(body, 'spec', 'resourceAttributes')
  const subresource = stringAt(asked, 'subresource') ?? ''
  return {
    verb: stringAt(asked, 'verb') ?? '',
    group: stringAt(asked, 'group') ?? '',
    resource: `${stringAt(asked, 'resource') ?? ''}${subresource === '' ? '' : `/${subresource}`}`,
    namespace: stringAt(asked, 'namespace') ?? '',
    name: stringAt(asked, 'name') ?? '',
  }
}

const everything: readonly JsonObject[] = [
  { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
  { verbs: ['*'], nonResourceURLs: ['*'] },
]

function rules(body: JsonObject, context: ReviewContext): JsonObject {
  const all = context.authorization === 'AlwaysAllow' || context.user.groups.includes('system:masters')
  const found = all ? everything : rulesFor(context.store, context.user, stringAt(body, 'spec', 'namespace') ?? '')
  const isPath = (rule: JsonObject): boolean => stringsAt(rule, 'nonResourceURLs').length > 0
  return {
    incomplete: false,
    resourceRules: found.filter((rule) => !isPath(rule)),
    nonResourceRules: found.filter(isPath),
  }
}

function token(body: JsonObject, context: ReviewContext): JsonObject {
  const user = context.tokens.authenticate(stringAt(body, 'spec', 'token') ?? '')
  if (user === undefined) return { authenticated: false, error: 'invalid bearer token', user: {} }
  return { authenticated: true, user: userInfo(user) }
}

const userInfo = ({ name, groups, uid }: User): JsonObject => ({
  username: name,
  groups,
  ...(uid === undefined ? {} : { uid }),
})
