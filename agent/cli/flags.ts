// Flags as they were given to a subcommand.

/** Reads flags that are given once at most: the text, or null. Throws an Error that names the flag where it is amiss. */
export function flagsOf(given: Readonly<Record<string, unknown>>): (name: string) => string | null {
  return (name) => {
    const value = given[name]
    if (Array.isArray(value)) throw new Error(`--${name}: must be given once`)
    if (value === '') throw new Error(`--${name}: must not be empty`)
    return typeof value === 'string' ? value : null
  }
}
