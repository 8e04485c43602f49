// The real body of Kernel: eBPF programs at the root of cgroup2 and one more in each captured pod's network namespace.
import { closeSync, openSync } from 'node:fs'
import type { Capture } from './capture.ts'
import { capturePod, cookieIn } from './capture.ts'
import type { Captured, Counters, Handles, Kernel, PodSource } from './kernel.ts'
import { ENTRIES_BOUND, ORIGINS_BOUND } from './kernel.ts'
import type { Programs } from './programs.ts'
import { attachPrograms } from './programs.ts'

export { openSockets } from './sockets.ts'

export interface KernelOptions {
  /** The root of cgroup2 (discover.ts, findCgroupRoot). A part of the tree captures only the processes in it. */
  readonly cgroupRoot: string
  /** Default ORIGINS_BOUND. */
  readonly originsBound?: number
  /** Default ENTRIES_BOUND. */
  readonly entriesBound?: number
}

/** Loads and attaches the programs. Needs root and Linux 5.15. Throws KernelError, and then nothing stays. */
export function openKernel(options: KernelOptions): Kernel {
  using undo = new DisposableStack()
  const home = openSync('/proc/self/ns/net', 'r')
  undo.defer(() => closeSync(home))
  const programs = attachPrograms(options.cgroupRoot)
  undo.defer(() => programs.close())
  const kernel = new BpfKernel(programs, home, options)
  undo.move()
  return kernel
}

type PodCounters = ReturnType<Capture['counters']>

function addTo(sum: PodCounters, counted: PodCounters): void {
  for (const name of Object.keys(counted) as (keyof PodCounters)[]) sum[name] += counted[name]
}

class BpfKernel implements Kernel {
  readonly #programs: Programs
  readonly #home: number
  readonly #options: KernelOptions
  readonly #captures = new Map<string, Capture>()
  /** Counts of the pods that were released. */
  readonly #past = { steered: 0, let: 0, dropped: 0, closed: 0, crowded: 0 }
  #last: Counters | null = null

  constructor(programs: Programs, home: number, options: KernelOptions) {
    this.#programs = programs
    this.#home = home
    this.#options = options
  }

  capture(pod: PodSource): Captured {
    const known = this.#captures.get(pod.uid)
    if (known) {
      // a pod whose sandbox was made anew has a new namespace under its old uid
      const same = cookieIn(pod.netns, this.#home) === known.captured.cookie
      if (same && pod.ip === known.captured.ips[0]) {
        known.look()
        return known.captured
      }
      this.release(pod.uid)
    }
    const capture = capturePod(pod, {
      programs: this.#programs,
      home: this.#home,
      originsBound: this.#options.originsBound ?? ORIGINS_BOUND,
      entriesBound: this.#options.entriesBound ?? ENTRIES_BOUND,
    })
    this.#captures.set(pod.uid, capture)
    return capture.captured
  }

  release(uid: string): void {
    const capture = this.#captures.get(uid)
    if (!capture) return
    this.#captures.delete(uid)
    try {
      addTo(this.#past, capture.counters())
    } finally {
      capture.release() // whatever cannot be counted
    }
  }

  captured(): ReadonlyMap<string, Captured> {
    return new Map([...this.#captures].map(([uid, capture]) => [uid, capture.captured]))
  }

  counters(): Counters {
    if (this.#last) return { ...this.#last }
    const ofPods = { ...this.#past }
    for (const capture of this.#captures.values()) addTo(ofPods, capture.counters())
    const ofNode = this.#programs.counters()
    return { ...ofNode, ...ofPods, crowded: ofNode.crowded + ofPods.crowded }
  }

  handles(): Handles {
    const { own, accepted } = this.#programs.maps
    return { body: 'bpf', own, accepted, home: this.#home }
  }

  close(): void {
    if (this.#last) return
    for (const uid of [...this.#captures.keys()]) this.release(uid)
    this.#last = this.counters()
    this.#programs.close()
    closeSync(this.#home)
  }
}
