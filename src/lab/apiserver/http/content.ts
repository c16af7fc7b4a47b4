// Content negotiation: what form of a response a client asked for, and what form its body is in.

import { notAcceptable, unsupportedMediaType } from '../errors.ts'

/** `Table` and `PartialObjectMetadata` are forms of meta.k8s.io/v1 that any kind can be shown in. */
export type Form = 'json' | 'Table' | 'PartialObjectMetadata'

interface MediaRange {
  readonly type: string
  readonly parameters: Readonly<Record<string, string>>
}

/** The ranges of an Accept header, in the order they are written, which is how the API server prefers them. */
export function parseAccept(header: string | undefined): readonly MediaRange[] {
  return (header ?? '*/*').split(',').map((range) => {
    const [type = '', ...rest] = range.split(';').map((part) => part.trim())
    return { type, parameters: Object.fromEntries(rest.map((pair) => pair.split('=', 2))) }
  })
}

const jsonTypes = new Set(['application/json', '*/*', 'application/*', ''])

/** The first form that this server can give. Throws NotAcceptable when there is none. */
export function negotiateForm(header: string | undefined): Form {
  for (const { type, parameters } of parseAccept(header)) {
    if (!jsonTypes.has(type)) continue
    const as = parameters['as']
    if (as === undefined) return 'json'
    if (parameters['g'] !== 'meta.k8s.io' || parameters['v'] !== 'v1') continue
    if (as === 'Table') return 'Table'
    if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList') return 'PartialObjectMetadata'
  }
  throw notAcceptable(['application/json'])
}

/** The media type of a request body; absent counts as JSON. Throws UnsupportedMediaType. */
export function bodyType(header: string | undefined, accepted: readonly string[]): string {
  const type = (header ?? '').split(';')[0]?.trim() || (accepted[0] ?? '')
  if (accepted.includes(type)) return type
  throw unsupportedMediaType(accepted)
}
