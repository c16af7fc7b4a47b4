// The rules of single kinds that look beyond the object itself: one row a kind, everything else passes as it is.

import { type Cluster, nowText } from '../cluster.ts'
import { invalid } from '../errors.ts'
import { type JsonObject, jsonEqual, objectAt, stringAt, withValue } from '../json.ts'
import { crdBucket } from '../registry/registry.ts'
import { serviceBucket } from './address-allocator.ts'
import { admitCrd } from './crd.ts'
import type { Review } from './review.ts'
import { admitService } from './service.ts'

type Admission = (review: Review, cluster: Cluster) => JsonObject

const admissions: Readonly<Record<string, Admission>> = {
  [serviceBucket]: (review, cluster) => admitService(review, cluster.addresses),
  [crdBucket]: (review, cluster) => admitCrd(review, nowText(cluster)),
  '/secrets': refuseImmutableChange,
  '/configmaps': refuseImmutableChange,
  'rbac.authorization.k8s.io/rolebindings': refuseRoleChange,
  'rbac.authorization.k8s.io/clusterrolebindings': refuseRoleChange,
  'apps/deployments': requireSelectedTemplate,
  'apps/daemonsets': requireSelectedTemplate,
  'apps/replicasets': requireSelectedTemplate,
}

/** The object as it will be stored. Throws Invalid or Forbidden. */
export function admit(review: Review, cluster: Cluster): JsonObject {
  const admission = admissions[review.type.bucket]
  const admitted = admission === undefined ? review.object : admission(review, cluster)
  const problems = review.type.custom?.schema.validate(admitted, review.old) ?? []
  if (problems.length > 0) throw invalid(review.type, nameOf(admitted), problems)
  return admitted
}

const nameOf = (object: JsonObject): string => stringAt(object, 'metadata', 'name') ?? ''

function refuseImmutableChange({ type, object, old }: Review): JsonObject {
  if (old?.['immutable'] !== true) return object
  for (const path of ['immutable', 'data', 'binaryData'])
    if (!jsonEqual(old[path], object[path]))
      throw invalid(type, nameOf(object), [
        { reason: 'FieldValueForbidden', path, message: 'Forbidden: field is immutable when `immutable` is set' },
      ])
  return object
}

function refuseRoleChange({ type, object, old }: Review): JsonObject {
  if (old === undefined || jsonEqual(old['roleRef'], object['roleRef'])) return object
  throw invalid(type, nameOf(object), [
    {
      reason: 'FieldValueInvalid',
      path: 'roleRef',
      message: `Invalid value: ${JSON.stringify(object['roleRef'])}: cannot change roleRef`,
    },
  ])
}

function requireSelectedTemplate({ type, object, old }: Review): JsonObject {
  const selector = objectAt(object, 'spec', 'selector')
  const labels = objectAt(object, 'spec', 'template', 'metadata', 'labels')
  if (Object.keys(selector).length === 0)
    throw invalid(type, nameOf(object), [
      { reason: 'FieldValueRequired', path: 'spec.selector', message: 'Required value' },
    ])
  const matches = Object.entries(objectAt(selector, 'matchLabels')).every(([key, value]) => labels[key] === value)
  if (!matches)
    throw invalid(type, nameOf(object), [
      {
        reason: 'FieldValueInvalid',
        path: 'spec.template.metadata.labels',
        message: `Invalid value: ${JSON.stringify(labels)}: \`selector\` does not match template \`labels\``,
      },
    ])
  if (old !== undefined && !jsonEqual(objectAt(old, 'spec')['selector'], objectAt(object, 'spec')['selector']))
    throw invalid(type, nameOf(object), [
      {
        reason: 'FieldValueInvalid',
        path: 'spec.selector',
        message: `Invalid value: ${JSON.stringify(selector)}: field is immutable`,
      },
    ])
  return object['status'] === undefined ? withValue(object, ['status'], {}) : object
}
