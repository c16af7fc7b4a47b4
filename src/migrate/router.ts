// Where a router is, as the objects of both products say it: an address that we can dial, and a port.

import type { Cursor } from './source.ts'
import { routerRefusal } from './values.ts'

/**
 * The address in `field`; undefined, with a word why, where there is none that can be dialled. `unnumbered`: the field that names an
 * interface instead, and what to say of it.
 */
export function routerAddress(
  cursor: Cursor,
  field: string,
  unnumbered: { readonly field: string; readonly words: string },
): string | undefined {
  cursor.drop(unnumbered.field, unnumbered.words, 'problem')
  const text = cursor.text(field)
  if (text === undefined || text === '') return undefined
  const refusal = routerRefusal(text)
  if (refusal === undefined) return text
  cursor.note('problem', field, refusal)
  return undefined
}

/** The port in `field`; undefined where it is BGP's own, or none. */
export function routerPort(cursor: Cursor | undefined, field: string): number | undefined {
  const port = cursor?.integer(field)
  if (port === undefined || port === 0 || port === 179) return undefined
  if (port <= 65_535) return port
  cursor?.note('problem', field, `${port} is no port; left out`)
  return undefined
}
