// The request target as records tell it: a token that is a parameter of it is nobody's to read later.

/** RFC 6750 §2.3. */
const ALWAYS = 'access_token'

/** Stars in place of what stands behind certain parameters. */
export class ToldPath {
  readonly #hidden: RegExp

  /** `names`: of parameters that tokens are taken from, beside `access_token`. */
  constructor(names: Iterable<string> = []) {
    // as they may be written: the name itself, and as a query encodes it
    const forms = [...new Set([ALWAYS, ...names])].flatMap((name) => [name, encodeURIComponent(name)])
    const choice = [...new Set(forms)].map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|')
    this.#hidden = new RegExp(`([?&](?:${choice})=)[^&#]*`, 'g')
  }

  /** The same text where there is nothing to hide. */
  of(target: string): string {
    const query = target.indexOf('?')
    return query < 0 ? target : target.replace(this.#hidden, '$1***')
  }
}
