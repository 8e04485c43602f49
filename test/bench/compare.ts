// The comparison: each kind of work, each round, each proxy in turn.

import { type Measured, measure, recordsOf } from './measure.ts'
import { Proxies, type Proxy, PROXY_NAMES, type ProxyName } from './proxies.ts'
import { CONNECTIONS, type Row, summary } from './report.ts'

/** What is asked for, and the bytes of its body. */
export const KINDS = { '1k': 1024, '100k': 100 * 1024 } as const
export type Kind = keyof typeof KINDS

export interface Pace {
  readonly rounds: number
  readonly seconds: number
  readonly warmUpSeconds: number
}

/** Measures; `say` hears of each round. */
export async function compare(kinds: readonly Kind[], pace: Pace, say: (line: string) => void): Promise<Row[]> {
  await using proxies = await Proxies.start(KINDS)
  const rows: Row[] = []
  for (const kind of kinds) {
    const load = { path: `/${kind}`, connections: CONNECTIONS }
    const measured = new Map<ProxyName, Measured[]>(PROXY_NAMES.map((name) => [name, []]))
    const before = await recordsOf(proxies.all)
    const window = async (proxy: Proxy, seconds: number): Promise<void> => {
      measured.get(proxy.name)?.push(await measure(proxy, { ...load, seconds }))
    }
    for (const proxy of proxies.all) await window(proxy, pace.warmUpSeconds)
    for (let round = 0; round < pace.rounds; round++) {
      // each goes first in turn, so that what comes before whom does not count
      for (let place = 0; place < proxies.all.length; place++) {
        const proxy = proxies.all[(round + place) % proxies.all.length]
        if (proxy !== undefined) await window(proxy, pace.seconds)
      }
      say(`${kind}: round ${round + 1} of ${pace.rounds}`)
    }
    const after = await recordsOf(proxies.all)
    for (const [proxy, windows] of measured) {
      const records = (after.get(proxy) ?? 0) - (before.get(proxy) ?? 0)
      rows.push(summary({ work: `HTTP/1.1 plain, ${kind}`, proxy, records }, windows))
    }
  }
  return rows
}
