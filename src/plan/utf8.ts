// UTF-8 for the pure folders, where no TextDecoder exists: a password is bytes in its Secret and text in a session's settings.

/** The text of `bytes`, or undefined when they are not well-formed UTF-8 (overlong forms and surrogates included). */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  let text = ''
  for (let i = 0; i < bytes.length; ) {
    const lead = bytes[i] ?? 0
    const length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0
    if (length === 0 || i + length > bytes.length) return undefined
    let code = length === 1 ? lead : lead & (0xff >> (length + 1))
    for (let j = 1; j < length; j++) {
      const next = bytes[i + j] ?? 0
      if ((next & 0xc0) !== 0x80) return undefined
      code = code * 64 + (next & 0x3f)
    }
    const least = [0, 0, 0x80, 0x800, 0x1_0000][length] ?? 0
    if (code < least || code > 0x10_ffff || (code >= 0xd800 && code <= 0xdfff)) return undefined
    text += String.fromCodePoint(code)
    i += length
  }
  return text
}
