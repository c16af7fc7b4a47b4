// An object of the world's configuration, as it was before somebody edited it.

import { nameOf } from '../expected.ts'
import { configuration } from '../manifests.ts'
import type { ChaosWorld } from '../world.ts'

/** Makes an object of `configuration` what it was. */
export function restore(objects: ReturnType<ChaosWorld['objects']>, kind: string, name: string): void {
  const wanted = configuration().find((each) => each['kind'] === kind && nameOf(each) === name)
  if (wanted !== undefined) objects.put(wanted)
}
