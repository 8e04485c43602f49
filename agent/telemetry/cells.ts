// The numbers behind the series: fetched once for a pair of ends, added to on the hot path, dumped at a scrape.

import { BUCKETS, type Counters, EDGE_LABELS, type Sample, type SeriesName } from './series.ts'

/** Pairs of ends with series of their own; what comes later shares one pair whose labels all say `other`. */
export const EDGE_LIMIT = 10_000
/** Endings (code and flags) of one pair that have series of their own; those that come later share one of code `other`. */
export const ENDINGS_LIMIT = 64
/** Series of a deleted pod are kept so long. */
export const GONE_MS = 5 * 60 * 1000

/** A number that only grows, or for a gauge also falls. */
export interface Cell {
  value: number
}

/** A distribution over BUCKETS. */
export class Histogram {
  readonly counts: number[] = new Array<number>(BUCKETS.length + 1).fill(0)
  sum = 0

  /** Adds an observation to the bucket that bucketOf() says. */
  add(bucket: number, value: number): void {
    this.counts[bucket] = (this.counts[bucket] as number) + 1
    this.sum += value
  }
}

/** Index of the bucket that a value counts in. */
export function bucketOf(value: number): number {
  let index = 0
  while (index < BUCKETS.length && value > (BUCKETS[index] as number)) index++
  return index
}

/** Requests between two ends that ended alike. */
export class RequestCells {
  readonly flags: string
  readonly code: string
  requests = 0
  readonly duration = new Histogram()
  readonly requestBytes = new Histogram()
  readonly responseBytes = new Histogram()

  constructor(code: string, flags: string) {
    this.code = code
    this.flags = flags
  }
}

/** TCP connections between two ends. */
export class FlowCells {
  opened = 0
  sentBytes = 0
  receivedBytes = 0
  /** Ended connections by response flag. */
  readonly closed = new Map<string, Cell>()

  close(flags: string, count = 1): void {
    if (count === 0) return
    const cell = this.closed.get(flags)
    if (cell === undefined) this.closed.set(flags, { value: count })
    else cell.value += count
  }
}

/** Two ends, as one reporter sees them. */
export class Edge {
  /** Values of EDGE_LABELS. */
  readonly labels: readonly string[]
  /** uids of the pods that the labels speak of, at each end; none where it is not known who stands there. */
  readonly ends: readonly [caller: Set<string>, callee: Set<string>] = [new Set(), new Set()]
  goneSinceMs: number | null = null
  readonly #requests = new Map<string, Map<number, RequestCells>>()
  #last: { readonly code: number; readonly flags: string; readonly cells: RequestCells } | null = null
  #endings = 0
  #others: RequestCells | null = null
  #flows: FlowCells | null = null

  constructor(labels: readonly string[]) {
    this.labels = labels
  }

  /** Whether all pods of an end are gone. Those that are, while others are not, are forgotten. */
  isGone(lives: (uid: string) => boolean): boolean {
    return this.ends.some((pods) => {
      const dead = [...pods].filter((uid) => !lives(uid))
      if (dead.length === pods.size) return dead.length > 0
      for (const uid of dead) pods.delete(uid)
      return false
    })
  }

  /** Most requests end as the one before did. */
  requests(code: number, flags: string): RequestCells {
    if (this.#last?.code === code && this.#last.flags === flags) return this.#last.cells
    let byCode = this.#requests.get(flags)
    if (byCode === undefined) this.#requests.set(flags, (byCode = new Map<number, RequestCells>()))
    let cells = byCode.get(code)
    if (cells === undefined) {
      if (this.#endings >= ENDINGS_LIMIT) return (this.#others ??= new RequestCells('other', '-'))
      this.#endings++
      byCode.set(code, (cells = new RequestCells(String(code), flags)))
    }
    this.#last = { code, flags, cells }
    return cells
  }

  get flows(): FlowCells {
    return (this.#flows ??= new FlowCells())
  }

  dump(out: Sample[]): void {
    for (const byCode of this.#requests.values()) for (const cells of byCode.values()) this.#dumpRequests(cells, out)
    if (this.#others !== null) this.#dumpRequests(this.#others, out)
    if (this.#flows !== null) this.#dumpFlows(this.#flows, out)
  }

  #dumpRequests(cells: RequestCells, out: Sample[]): void {
    const labels = [...this.labels, cells.flags, cells.code, '']
    const spread = (name: SeriesName, { counts, sum }: Histogram): void => {
      out.push({ name, labels, counts: [...counts], sum })
    }
    out.push({ name: 'istio_requests_total', labels, value: cells.requests })
    spread('istio_request_duration_milliseconds', cells.duration)
    spread('istio_request_bytes', cells.requestBytes)
    spread('istio_response_bytes', cells.responseBytes)
  }

  #dumpFlows(flows: FlowCells, out: Sample[]): void {
    const labels = [...this.labels, '-']
    out.push({ name: 'istio_tcp_connections_opened_total', labels, value: flows.opened })
    out.push({ name: 'istio_tcp_sent_bytes_total', labels, value: flows.sentBytes })
    out.push({ name: 'istio_tcp_received_bytes_total', labels, value: flows.receivedBytes })
    for (const [flags, { value }] of flows.closed) {
      out.push({ name: 'istio_tcp_connections_closed_total', labels: [...this.labels, flags], value })
    }
  }
}

/** All cells of a worker. */
export class Cells {
  /** Edges that were let go so far. */
  letGo = 0
  readonly #edges = new Map<string, Edge>()
  readonly #plain = new Map<string, Cell & { readonly name: SeriesName; readonly labels: readonly string[] }>()
  readonly #overflow = new Edge(EDGE_LABELS.map(() => 'other'))

  /** The cells of two ends; `labels` are the values of EDGE_LABELS, `pods` the uids of the pods they speak of now. */
  edge(labels: readonly string[], pods: { readonly caller?: string; readonly callee?: string } = {}): Edge {
    const key = labels.join('\n')
    let edge = this.#edges.get(key)
    if (edge === undefined) {
      if (this.#edges.size >= EDGE_LIMIT) {
        this.plain('weft_series_overflow_total').value++
        return this.#overflow
      }
      edge = new Edge(labels)
      this.#edges.set(key, edge)
    }
    if (pods.caller !== undefined) edge.ends[0].add(pods.caller)
    if (pods.callee !== undefined) edge.ends[1].add(pods.callee)
    return edge
  }

  /** The cell of a series without ends. Label values come from tables of this code, never from requests. */
  plain(name: SeriesName, ...labels: string[]): Cell {
    const key = `${name} ${labels.join(' ')}`
    let cell = this.#plain.get(key)
    if (cell === undefined) this.#plain.set(key, (cell = { name, labels, value: 0 }))
    return cell
  }

  /**
   * Everything as plain data. Series for one of whose ends no pod lives any more (`lives` says no) are let go after
   * GONE_MS; `letGo` grows by each, and whoever keeps edges looks them up anew.
   */
  dump(nowMs: number, lives: (uid: string) => boolean): Counters {
    const out: Sample[] = []
    for (const [key, edge] of this.#edges) {
      if (!edge.isGone(lives)) edge.goneSinceMs = null
      else if (edge.goneSinceMs === null) edge.goneSinceMs = nowMs
      else if (nowMs - edge.goneSinceMs > GONE_MS) {
        this.#edges.delete(key)
        this.letGo++
        continue
      }
      edge.dump(out)
    }
    this.#overflow.dump(out)
    for (const { name, labels, value } of this.#plain.values()) out.push({ name, labels, value })
    return out
  }
}
