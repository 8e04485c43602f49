// Names as Kubernetes makes them: hashes of pod templates in its alphabet without vowels.

const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789'
const FNV_OFFSET = 0x811c9dc5
const FNV_PRIME = 0x01000193

/** A short name for a template: the same for equal JSON whatever the order of its members; `salt` makes another one. */
export function templateHash(template: unknown, salt = 0): string {
  let hash = FNV_OFFSET
  for (const byte of Buffer.from(canonical(template) + (salt === 0 ? '' : String(salt)))) {
    hash = Math.imul(hash ^ byte, FNV_PRIME) >>> 0
  }
  return [...String(hash)].map((digit) => ALPHABET[digit.charCodeAt(0) % ALPHABET.length]).join('')
}

/** JSON with members in order of their names; null ones are left out: to the API they are the same as absent. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined && member !== null)
    .sort(([left], [right]) => (left < right ? -1 : 1))
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`
}
