// Which tests run beside which. A file is `beside the code`, or under test/ and there `together` with others, one of `two labs`
// at a time, or `alone`.
// Together runs what touches nothing that a machine has once: no BPF, no namespaces, no ports but those that the kernel
// gives or that are at this process's own addresses (test/network.ts), and no figure that a neighbour could spoil.
// A lab has all of that for itself: two of them do not meet, and mostly wait. Under load, or by the clock, one is looked at alone.

export type Company = 'beside the code' | 'together' | 'two labs' | 'alone'

/** Rooms whose files run together, but for those below. */
const ROOMS = roomsOf('chart', 'http1', 'kube', 'lab-api', 'lab-apps', 'proxy', 'signing', 'telemetry')

/** Rooms of labs, whose files run two at a time, but for those below. What stands elsewhere under test/ runs alone. */
const LABS = roomsOf('bookinfo', 'docs', 'image', 'lab', 'monitoring')

/** Files elsewhere that run together too. */
const WELCOME: ReadonlySet<string> = new Set(['test/native/sanitizers.test.ts'])

/** Files of these rooms that run alone, and why. */
export const ALONE: Readonly<Record<string, string>> = {
  'test/lab/accounting.test.ts': 'tells how many megabytes a second pass',
  'test/lab/agent-loss.test.ts': 'is under load, and has a bound of time',
  'test/lab/down.test.ts': 'looks at all that is on the machine',
  'test/lab/exact.test.ts': 'has outcomes by time-outs, each to the unit',
  'test/lab/hand-over.test.ts': 'is under load',
  'test/lab/installed.test.ts': 'is under load, and tells how long each step took',
  'test/lab/joining.test.ts': 'is under load, and tells how long each step took',
  'test/lab/rolling.test.ts': 'is under load',
  'test/lab/rotation.test.ts': 'is under load',
  'test/proxy/circuit-breaker.test.ts': 'captures pods',
  'test/proxy/dead-peers.test.ts': 'captures pods',
  'test/proxy/endurance.test.ts': 'bounds memory and time of a gigabyte',
  'test/proxy/idle-connections.test.ts': 'captures pods, and has a bound of memory',
  'test/proxy/neighbours.test.ts': 'captures pods, and has a bound of latency',
  'test/proxy/several-workers.test.ts': 'captures pods',
  'test/proxy/storm.test.ts': 'thousands of connections at once',
  'test/proxy/worker.test.ts': 'captures pods',
}

/** Those of half a minute: whoever began them last would wait for them by himself. */
const LONGEST = [
  'test/native/sanitizers.test.ts',
  'test/lab-api/kubectl.test.ts',
  'test/signing/signing.test.ts',
  'test/kube/controller.test.ts',
  'test/proxy/transport-tls.test.ts',
  'test/docs/guides.test.ts',
  'test/monitoring/scraping.test.ts',
  'test/bookinfo/bookinfo.test.ts',
  'test/image/image.test.ts',
]

/** In what company a test file, relative to the repository, runs. */
export function companyOf(file: string): Company {
  if (!file.startsWith('test/') || file.startsWith('test/repository/')) return 'beside the code'
  if (WELCOME.has(file)) return 'together'
  if (Object.hasOwn(ALONE, file)) return 'alone'
  const isIn = (rooms: readonly string[]): boolean => rooms.some((room) => file.startsWith(room))
  return isIn(ROOMS) ? 'together' : isIn(LABS) ? 'two labs' : 'alone'
}

/** The same files, the longest first. */
export function longestFirst(files: readonly string[]): string[] {
  const isLong = (file: string): boolean => LONGEST.includes(file)
  return [...LONGEST.filter((file) => files.includes(file)), ...files.filter((file) => !isLong(file))]
}

function roomsOf(...names: string[]): string[] {
  return names.map((name) => `test/${name}/`)
}
