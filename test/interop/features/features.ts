// All rows of docs/interop.md, in their order.

import { bfdRows } from './bfd.ts'
import { failureFeatures } from './failures.ts'
import type { Feature, FeatureRow } from './feature.ts'
import { routeFeatures } from './routes.ts'
import { sessionFeatures } from './sessions.ts'

export const features: readonly Feature[] = [...routeFeatures, ...sessionFeatures, ...failureFeatures]

/** The rows of docs/interop.md. */
export const rows: readonly FeatureRow[] = [...features, ...bfdRows]
