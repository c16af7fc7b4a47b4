// Small facts about pods and nodes that several controllers ask for.

import { type JsonObject, objectsAt, stringAt } from '../json.ts'

/** One condition of an object, by type. */
export const conditionOf = (object: JsonObject, type: string): JsonObject | undefined =>
  objectsAt(object, 'status', 'conditions').find((condition) => stringAt(condition, 'type') === type)

/** Whether the condition Ready is True: for pods and nodes alike. */
export const isReady = (object: JsonObject): boolean => stringAt(conditionOf(object, 'Ready'), 'status') === 'True'

export const isTerminating = (object: JsonObject): boolean =>
  stringAt(object, 'metadata', 'deletionTimestamp') !== undefined

/** Whether a pod has ended for good. */
export const hasEnded = (pod: JsonObject): boolean =>
  ['Succeeded', 'Failed'].includes(stringAt(pod, 'status', 'phase') ?? '')

/** The conditions of an object with this one set; its transition time moves only when its status does. */
export function withCondition(object: JsonObject, condition: JsonObject, nowText: string): JsonObject {
  const type = stringAt(condition, 'type') ?? ''
  const before = conditionOf(object, type)
  const since =
    stringAt(before, 'status') === stringAt(condition, 'status') ? stringAt(before, 'lastTransitionTime') : undefined
  const set = { ...condition, lastTransitionTime: since ?? nowText }
  const all = objectsAt(object, 'status', 'conditions')
  const conditions = before === undefined ? [...all, set] : all.map((each) => (each === before ? set : each))
  return { ...object, status: { ...(object['status'] as JsonObject | undefined), conditions } }
}
