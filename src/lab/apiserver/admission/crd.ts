// A CustomResourceDefinition between its author and storage: names, versions and schemas are checked, and the status says at
// once what a real cluster says a moment later: names accepted, established.

import { compileStructuralSchema } from '../crd/structural-schema.ts'
import { ApiError, type FieldProblem, invalid } from '../errors.ts'
import { type JsonObject, objectAt, objectsAt, stringAt } from '../json.ts'
import { storedVersions } from './defaults.ts'
import type { Review } from './review.ts'

/** Keeps a CRD until its objects are gone. */
export const crdFinalizer = 'customresourcecleanup.apiextensions.k8s.io'

/** The CRD as it will be stored. Throws Invalid. */
export function admitCrd({ type, object, old }: Review, nowText: string): JsonObject {
  const name = stringAt(object, 'metadata', 'name') ?? ''
  const problems = crdProblems(object, old)
  if (problems.length > 0) throw invalid(type, name, problems)
  const deleting = stringAt(object, 'metadata', 'deletionTimestamp') !== undefined
  const metadata = objectAt(object, 'metadata')
  return {
    ...object,
    metadata: old === undefined ? { ...metadata, finalizers: [crdFinalizer] } : metadata,
    status: {
      conditions: [
        condition(old, 'NamesAccepted', 'NoConflicts', 'no conflicts found', nowText),
        condition(old, 'Established', 'InitialNamesAccepted', 'the initial names have been accepted', nowText),
        ...(deleting
          ? [
              condition(
                old,
                'Terminating',
                'InstanceDeletionInProgress',
                'CustomResource deletion is in progress',
                nowText,
              ),
            ]
          : []),
      ],
      acceptedNames: objectAt(object, 'spec', 'names'),
      storedVersions: storedVersions({ ...object, status: objectAt(old, 'status') }),
    },
  }
}

function condition(
  old: JsonObject | undefined,
  type: string,
  reason: string,
  message: string,
  nowText: string,
): JsonObject {
  const before = objectsAt(old, 'status', 'conditions').find((each) => stringAt(each, 'type') === type)
  return before ?? { lastTransitionTime: nowText, message, reason, status: 'True', type }
}

function crdProblems(crd: JsonObject, old: JsonObject | undefined): readonly FieldProblem[] {
  const problems: FieldProblem[] = []
  const group = stringAt(crd, 'spec', 'group') ?? ''
  const plural = stringAt(crd, 'spec', 'names', 'plural') ?? ''
  const scope = stringAt(crd, 'spec', 'scope') ?? ''
  const versions = objectsAt(crd, 'spec', 'versions')
  for (const [path, value] of [
    ['spec.group', group],
    ['spec.scope', scope],
    ['spec.names.plural', plural],
    ['spec.names.kind', stringAt(crd, 'spec', 'names', 'kind') ?? ''],
  ] as const)
    if (value === '') problems.push({ reason: 'FieldValueRequired', path, message: 'Required value' })
  if (stringAt(crd, 'metadata', 'name') !== `${plural}.${group}`)
    problems.push(
      wrong('metadata.name', stringAt(crd, 'metadata', 'name') ?? '', 'must be spec.names.plural+"."+spec.group'),
    )
  if (versions.filter((version) => version['storage'] === true).length !== 1)
    problems.push({
      reason: 'FieldValueInvalid',
      path: 'spec.versions',
      message: 'Invalid value: must have exactly one version marked as storage version',
    })
  if (old !== undefined && stringAt(old, 'spec', 'scope') !== scope)
    problems.push(wrong('spec.scope', scope, 'field is immutable'))
  for (const [i, version] of versions.entries()) problems.push(...schemaProblems(version, i))
  return problems
}

const wrong = (path: string, value: string, because: string): FieldProblem => ({
  reason: 'FieldValueInvalid',
  path,
  message: `Invalid value: ${JSON.stringify(value)}: ${because}`,
})

function schemaProblems(version: JsonObject, index: number): readonly FieldProblem[] {
  const path = `spec.versions[${index}].schema.openAPIV3Schema`
  const schema = objectAt(version, 'schema')['openAPIV3Schema']
  if (schema === undefined)
    return [{ reason: 'FieldValueRequired', path, message: 'Required value: schemas are required' }]
  try {
    compileStructuralSchema(objectAt(schema))
    return []
  } catch (error) {
    if (error instanceof ApiError || !(error instanceof Error)) throw error
    return [{ reason: 'FieldValueInvalid', path, message: `Invalid value: ${error.message}` }]
  }
}
