// metadata and metav1.Condition: the parts that every kind shares. What nobody reads (managedFields, what kubectl apply
// remembers) is left behind here, because with ten thousand Services it would be most of the memory.

import { asObject, asText, listOf } from '../json.ts'
import type { Condition, ObjectMeta } from '../objects.ts'

const noText: Readonly<Record<string, string>> = Object.freeze({})

/** kubectl's copy of the whole object, and the like: large, and no business of ours. */
const annotationsLeftBehind: ReadonlySet<string> = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  'endpoints.kubernetes.io/last-change-trigger-time',
])

export interface MetaOptions {
  /** Which labels and annotations to keep: those of EndpointSlices are noise. Default: all. */
  readonly keep?: { readonly labels: boolean; readonly annotations: boolean }
}

/** The metadata of a raw object, or undefined when it has no name: then it is no Kubernetes object. */
export function parseMeta(raw: unknown, options: MetaOptions = {}): ObjectMeta | undefined {
  const metadata = asObject(asObject(raw)?.['metadata'])
  const name = asText(metadata?.['name'])
  if (metadata === undefined || name === undefined || name === '') return undefined
  const generation = metadata['generation']
  const created = Date.parse(asText(metadata['creationTimestamp']) ?? '')
  return {
    namespace: asText(metadata['namespace']) ?? '',
    name,
    uid: asText(metadata['uid']) ?? '',
    resourceVersion: asText(metadata['resourceVersion']) ?? '',
    generation: typeof generation === 'number' ? generation : 0,
    labels: options.keep?.labels === false ? noText : textEntries(metadata['labels']),
    annotations: options.keep?.annotations === false ? noText : textEntries(metadata['annotations']),
    creationTimestampMs: Number.isNaN(created) ? 0 : created,
    deleting: asText(metadata['deletionTimestamp']) !== undefined,
    finalizers: listOf(metadata['finalizers'], asText),
  }
}

function textEntries(raw: unknown): Readonly<Record<string, string>> {
  const map = asObject(raw)
  if (map === undefined) return noText
  const kept: Record<string, string> = {}
  let any = false
  for (const [key, value] of Object.entries(map)) {
    if (typeof value !== 'string' || annotationsLeftBehind.has(key)) continue
    kept[key] = value
    any = true
  }
  return any ? kept : noText
}

/** `status.conditions`; entries without a type or status are skipped: they are not ours to judge. */
export function parseConditions(raw: unknown): readonly Condition[] {
  return listOf(raw, (item): Condition | undefined => {
    const condition = asObject(item)
    const type = asText(condition?.['type'])
    const status = asText(condition?.['status'])
    if (type === undefined || (status !== 'True' && status !== 'False' && status !== 'Unknown')) return undefined
    const observedGeneration = condition?.['observedGeneration']
    const lastTransitionTime = asText(condition?.['lastTransitionTime'])
    return {
      type,
      status,
      reason: asText(condition?.['reason']) ?? '',
      message: asText(condition?.['message']) ?? '',
      ...(typeof observedGeneration === 'number' ? { observedGeneration } : {}),
      ...(lastTransitionTime === undefined ? {} : { lastTransitionTime }),
    }
  })
}
