// coordination.k8s.io/v1 Lease as a value. Its times are written for people: nobody here ever compares another machine's clock
// with their own.

import { asObject, asText, identityOf } from './json.ts'

export interface Lease {
  readonly name: string
  readonly resourceVersion: string
  /** Empty: held by nobody. */
  readonly holder: string
  readonly durationSeconds: number
  readonly transitions: number
  readonly annotations: Readonly<Record<string, string>>
  /** Changes with each renewal; compared for equality only. */
  readonly renewal: string
}

/** Missing fields read as a lease that nobody holds. */
export function parseLease(raw: unknown): Lease {
  const object = asObject(raw)
  const spec = asObject(object?.['spec'])
  const number = (key: string): number => {
    const value = spec?.[key]
    return typeof value === 'number' ? value : 0
  }
  const holder = asText(spec?.['holderIdentity']) ?? ''
  const annotations = asObject(asObject(object?.['metadata'])?.['annotations']) ?? {}
  const identity = identityOf(raw)
  return {
    name: identity.name ?? '',
    resourceVersion: identity.resourceVersion,
    holder,
    durationSeconds: number('leaseDurationSeconds'),
    transitions: number('leaseTransitions'),
    annotations: Object.fromEntries(
      Object.entries(annotations).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
    ),
    renewal: [holder, asText(spec?.['renewTime']), asText(spec?.['acquireTime']), number('leaseTransitions')].join('|'),
  }
}
