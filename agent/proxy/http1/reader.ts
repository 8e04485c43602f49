// What requests are read with. A connection that rests between two of them holds none: it is lent one with the first byte of
// a request, and gives it back once that has been answered.

import { Body } from './body.ts'
import { Head } from './head.ts'
import type { HeadLimits } from './scan.ts'

/** Readers of a worker that wait for the next request. */
const SPARE_READERS = 256
const spare: Reader[] = []

/** A request's head, and its body. */
export class Reader {
  readonly head: Head
  readonly body = new Body()

  private constructor(limits: HeadLimits) {
    this.head = new Head('request', limits)
  }

  static lent(limits: HeadLimits): Reader {
    const reader = spare.pop()
    return reader?.head.limits === limits ? reader : new Reader(limits)
  }

  /** To be called once, when nobody looks at what was read any more. */
  giveBack(): void {
    this.head.reset()
    this.body.begin('none', 0)
    if (spare.length < SPARE_READERS) spare.push(this)
  }
}
