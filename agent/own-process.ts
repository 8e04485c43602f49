// What this very process is, and when it is told to stop.

import { readFileSync } from 'node:fs'

/** The version of this very Weft: package.json lies at the same place beside the sources and beside the build. */
export function ownVersion(): string {
  return (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version
}

/** Resolves at SIGTERM or SIGINT. */
export function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGTERM', resolve)
    process.once('SIGINT', resolve)
  })
}
