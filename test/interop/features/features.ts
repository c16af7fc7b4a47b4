// All rows of docs/interop.md, in their order.

import { failureFeatures } from './failures.ts'
import type { Feature } from './feature.ts'
import { routeFeatures } from './routes.ts'
import { sessionFeatures } from './sessions.ts'

export const features: readonly Feature[] = [...routeFeatures, ...sessionFeatures, ...failureFeatures]
