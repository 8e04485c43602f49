// A node's network configuration, as container runtimes read it: which file, which plug-ins, what each is told. Pure.
// Source: CNI specification 1.0.0 (cni.dev/docs/spec), sections 1 "Network configuration format" and 3 "Execution".

/** The type of the lab's own network, which the lab makes itself: no program stands behind it. */
export const OWN_TYPE = 'weft-lab'
export const OWN_FILE = '10-weft-lab.conflist'
const OWN_VERSION = '1.0.0'

export type Json = Readonly<Record<string, unknown>>

export interface NetworkList {
  readonly name: string
  readonly cniVersion: string
  /** Those that run after the lab's own, in their order. */
  readonly chained: readonly (Json & { readonly type: string })[]
}

/** A network with the lab's own plug-in alone: what a node begins with. */
export const ownNetwork = (): string =>
  `${JSON.stringify({ cniVersion: OWN_VERSION, name: OWN_TYPE, plugins: [{ type: OWN_TYPE }] }, null, 2)}\n`

/** The file that a runtime takes of a folder's: the first by name. undefined: there is none. */
export function firstFile(names: readonly string[]): string | undefined {
  return names.filter((name) => /\.(conflist|conf|json)$/.test(name)).toSorted((a, b) => (a < b ? -1 : 1))[0]
}

/** Reads a configuration file: a list of plug-ins, or (.conf, .json) one. Throws an Error that names what is wrong in it. */
export function parseNetwork(file: string, text: string): NetworkList {
  const wrong = (why: string): Error => new Error(`network configuration ${file}: ${why}`)
  let read: unknown
  try {
    read = JSON.parse(text)
  } catch (error) {
    throw wrong((error as Error).message)
  }
  if (!isObject(read)) throw wrong('not an object')
  const { name, cniVersion = '0.1.0' } = read
  if (typeof name !== 'string' || name === '') throw wrong('name: missing')
  if (typeof cniVersion !== 'string') throw wrong('cniVersion: not a string')
  const plugins: unknown = file.endsWith('.conflist') ? read['plugins'] : [read]
  if (!Array.isArray(plugins) || plugins.length === 0) throw wrong('plugins: no plug-in')
  const typed = plugins.map((plugin: unknown, at) => {
    const type = isObject(plugin) ? plugin['type'] : undefined
    if (typeof type !== 'string' || !/^[^/\0]+$/.test(type))
      throw wrong(`plugins[${String(at)}].type: no name of a program`)
    return { ...(plugin as Json), type }
  })
  const [own, ...chained] = typed
  if (own?.type !== OWN_TYPE)
    throw wrong(`plugins[0].type: "${OWN_TYPE}" makes the network of a lab's pods, not "${own?.type ?? ''}"`)
  return { name, cniVersion, chained }
}

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** What a plug-in reads on its standard input: its own part of the list, and what those before it made. */
export function inputOf(list: NetworkList, plugin: Json, prevResult: Json): string {
  return JSON.stringify({ ...plugin, name: list.name, cniVersion: list.cniVersion, prevResult })
}

/** A pod's place in the network, as plug-ins are told it. */
export interface Attachment {
  readonly containerId: string
  /** Path of the network namespace. */
  readonly netns: string
  readonly namespace: string
  readonly pod: string
  readonly uid: string
}

export const INTERFACE = 'eth0'

/** The environment that a plug-in is called with, besides PATH. */
export function environmentOf(command: 'ADD' | 'DEL', path: string, attached: Attachment): Record<string, string> {
  const { containerId, netns, namespace, pod, uid } = attached
  const args = {
    IgnoreUnknown: '1',
    K8S_POD_NAMESPACE: namespace,
    K8S_POD_NAME: pod,
    K8S_POD_INFRA_CONTAINER_ID: containerId,
    K8S_POD_UID: uid,
  }
  return {
    CNI_COMMAND: command,
    CNI_CONTAINERID: containerId,
    CNI_NETNS: netns,
    CNI_IFNAME: INTERFACE,
    CNI_PATH: path,
    CNI_ARGS: Object.entries(args)
      .map(([key, value]) => `${key}=${value}`)
      .join(';'),
  }
}

/** What the lab's own plug-in would have printed: the result that the chain begins with. */
export function ownResult(
  { cniVersion }: NetworkList,
  made: { readonly link: string; readonly netns: string; readonly address: string; readonly gateway: string },
): Json {
  return {
    cniVersion,
    interfaces: [{ name: made.link }, { name: INTERFACE, sandbox: made.netns }],
    ips: [{ address: `${made.address}/32`, gateway: made.gateway, interface: 1 }],
    routes: [{ dst: '0.0.0.0/0', gw: made.gateway }],
    dns: {},
  }
}

/** A plug-in's result. Throws where it printed none. */
export function parseResult(stdout: string): Json {
  let read: unknown
  try {
    read = JSON.parse(stdout)
  } catch {
    read = null
  }
  if (!isObject(read)) throw new Error('it printed no result')
  return read
}

/** What a plug-in that failed says: its error object's words, or else what it printed. */
export function failureOf({ code, stdout, stderr }: { code: number; stdout: string; stderr: string }): string {
  try {
    const { msg, details } = JSON.parse(stdout) as { msg?: unknown; details?: unknown }
    if (typeof msg === 'string' && msg !== '')
      return typeof details === 'string' && details !== '' ? `${msg}; ${details}` : msg
  } catch {
    // no error object: whatever it said must do
  }
  const said = (stderr.trim() || stdout.trim()).slice(0, SAID_CHARS)
  return said === ''
    ? `netplugin failed with no error message: exit status ${String(code)}`
    : `netplugin failed: "${said}"`
}

/** Of what a plug-in printed without being asked, this much goes into an event. */
const SAID_CHARS = 512
