// Long work in short slices, so that connections have their turns in between.

/** How long a slice may take before the event loop has its turn. The step it is in by then is still finished. */
const SLICE_MS = 0.5

/** Runs work to its end; the first slice at once. Rejects with what it throws. */
export function inSlices<T>(work: Generator<void, T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const slice = (): void => {
      const untilMs = performance.now() + SLICE_MS
      try {
        do {
          const step = work.next()
          if (step.done === true) return resolve(step.value)
        } while (performance.now() < untilMs)
      } catch (thrown) {
        return reject(thrown instanceof Error ? thrown : new Error(String(thrown)))
      }
      setImmediate(slice)
    }
    slice()
  })
}
