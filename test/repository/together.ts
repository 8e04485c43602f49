// Which tests run beside which. A file is `beside the code`, or under test/ and there `together` with one other or `alone`.
// Together runs what touches nothing that a machine has once: no BPF, no namespaces, no ports but those that the kernel
// gives or that are at this process's own addresses (test/network.ts), and no figure that a neighbour could spoil.

export type Company = 'beside the code' | 'together' | 'alone'

/** Rooms whose files run together, but for those below. What stands elsewhere under test/ runs alone. */
const ROOMS = ['chart', 'http1', 'kube', 'lab-api', 'lab-apps', 'proxy', 'signing', 'telemetry'].map(
  (room) => `test/${room}/`,
)

/** Files elsewhere that run together too. */
const WELCOME: ReadonlySet<string> = new Set(['test/native/sanitizers.test.ts'])

/** Files of these rooms that run alone, and why. */
export const ALONE: Readonly<Record<string, string>> = {
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
]

/** In what company a test file, relative to the repository, runs. */
export function companyOf(file: string): Company {
  if (!file.startsWith('test/') || file.startsWith('test/repository/')) return 'beside the code'
  if (WELCOME.has(file)) return 'together'
  return ROOMS.some((room) => file.startsWith(room)) && !Object.hasOwn(ALONE, file) ? 'together' : 'alone'
}

/** The same files, the longest first. */
export function longestFirst(files: readonly string[]): string[] {
  const isLong = (file: string): boolean => LONGEST.includes(file)
  return [...LONGEST.filter((file) => files.includes(file)), ...files.filter((file) => !isLong(file))]
}
