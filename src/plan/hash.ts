// A small hash of text, equal on every machine and in every version: path ids and the choice of next hops rest on its values, so
// changing it would make every router re-learn everything.

/** FNV-1a over the characters of ASCII text, mixed by the finaliser of MurmurHash3. Unsigned 32 bits. */
export function hash32(text: string, seed = 0): number {
  let hash = (0x811c_9dc5 ^ seed) >>> 0
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
