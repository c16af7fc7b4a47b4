// UTF-8 for the few texts that BGP carries (RFC 9003, the hostname and software version capabilities). Peers send what they
// like, so decoding tolerates everything; encoding can stop at a number of octets without cutting a character in two.

const replacement = 0xfffd

/** The text as UTF-8, cut at a code point boundary so that at most `bytesMax` octets remain. Lone surrogates become U+FFFD. */
export function encodeUtf8(text: string, bytesMax: number = Number.POSITIVE_INFINITY): Uint8Array {
  const bytes: number[] = []
  for (const character of text) {
    const encoded = encodeCodePoint(character.codePointAt(0) ?? replacement)
    if (bytes.length + encoded.length > bytesMax) break
    bytes.push(...encoded)
  }
  return Uint8Array.from(bytes)
}

function encodeCodePoint(codePoint: number): readonly number[] {
  if (codePoint < 0x80) return [codePoint]
  if (codePoint < 0x800) return [0xc0 | (codePoint >> 6), 0x80 | (codePoint & 0x3f)]
  if (codePoint >= 0xd800 && codePoint <= 0xdfff) return encodeCodePoint(replacement)
  if (codePoint < 0x10000)
    return [0xe0 | (codePoint >> 12), 0x80 | ((codePoint >> 6) & 0x3f), 0x80 | (codePoint & 0x3f)]
  return [
    0xf0 | (codePoint >> 18),
    0x80 | ((codePoint >> 12) & 0x3f),
    0x80 | ((codePoint >> 6) & 0x3f),
    0x80 | (codePoint & 0x3f),
  ]
}

// By leading octet: how many octets follow, the bits the leading one gives, and the least value that needs so many.
const forms = [
  { mask: 0xe0, lead: 0xc0, more: 1, least: 0x80 },
  { mask: 0xf0, lead: 0xe0, more: 2, least: 0x800 },
  { mask: 0xf8, lead: 0xf0, more: 3, least: 0x10000 },
] as const

/** The text, or undefined when the octets are not UTF-8: overlong forms, surrogates and cut characters included. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  let text = ''
  let at = 0
  while (at < bytes.length) {
    const lead = bytes[at++] ?? 0
    if (lead < 0x80) {
      text += String.fromCharCode(lead)
      continue
    }
    const form = forms.find(({ mask, lead: bits }) => (lead & mask) === bits)
    if (form === undefined || at + form.more > bytes.length) return undefined
    let codePoint = lead & ~form.mask
    for (const end = at + form.more; at < end; at++) {
      const next = bytes[at] ?? 0
      if ((next & 0xc0) !== 0x80) return undefined
      codePoint = (codePoint << 6) | (next & 0x3f)
    }
    if (codePoint < form.least || codePoint > 0x10ffff || (codePoint >= 0xd800 && codePoint <= 0xdfff)) return undefined
    text += String.fromCodePoint(codePoint)
  }
  return text
}
