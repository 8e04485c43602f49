// Hashes of texts: the same in every worker, and spread over all 32 bits.

/** FNV-1a over the text's UTF-16 units, then mixed: texts that differ in their last letter alone must not lie side by side. */
export function textHash(text: string, seed = 0): number {
  let sum = (0x811c9dc5 ^ seed) | 0
  for (let at = 0; at < text.length; at++) sum = Math.imul(sum ^ text.charCodeAt(at), 0x01000193)
  return mixed(sum ^ text.length)
}

/** 32 bits, each of which depends on each of those given (the end of MurmurHash3). */
export function mixed(given: number): number {
  let bits = Math.imul(given ^ (given >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return (bits ^ (bits >>> 16)) >>> 0
}

/** A hash as a part of a whole, 0 to less than 1, that tells nothing of where else the hash is used. */
export function partOf(hash: number): number {
  return mixed(hash ^ 0x5bd1e995) / 2 ** 32
}
