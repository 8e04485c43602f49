// The lab's network: a namespace a node, one switch namespace that joins their uplinks, a namespace a pod with a routed veth.
// Nothing but names under /run/netns shows in the root namespace.
//
//   pod eth0 10.244.n.x/32 ── p<hash>  node-n  eth0 10.89.0.(10+n)/24 ── n<n>  switch (bridge br0, 10.89.0.1)
import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { ipBatch, mustRun } from './run.ts'

export const NETNS_FOLDER = '/run/netns'
export const CLUSTER_DNS = '10.96.0.10'
export const KUBERNETES_SERVICE = '10.96.0.1'
export const API_PORT = 6443
export const MAX_NODES = 10

const SWITCH_ADDRESS = '10.89.0.1'
/** Every pod's gateway: an address that no interface has; a fixed neighbour entry makes it reachable. */
export const GATEWAY = '169.254.1.1'
const GATEWAY_MAC = 'ee:ee:ee:ee:ee:ee'
/** Kernel limit on the length of an interface name is 15. */
const HASH_LENGTH = 10

const shortHash = (text: string, length: number): string =>
  createHash('sha256').update(text).digest('hex').slice(0, length)

/** The id of the lab of one directory: the same after any crash, so `down` finds what is left without a state file. */
export const labIdOf = (absoluteFolder: string): string => shortHash(`weft lab ${absoluteFolder}`, 6)
export const nodeName = (index: number): string => `node-${String(index)}`
export const nodeNetns = (labId: string, node: string): string => `weft-${labId}-${node}`
export const switchNetns = (labId: string): string => `weft-${labId}-switch`
export const podNetns = (labId: string, podUid: string): string => `weft-${labId}-p-${shortHash(podUid, HASH_LENGTH)}`
export const podLink = (podUid: string): string => `p${shortHash(podUid, HASH_LENGTH)}`
/** Address of lab node `index` (1..10). */
export const nodeAddress = (index: number): string => `10.89.0.${String(10 + index)}`
export const podCidr = (index: number): string => `10.244.${String(index)}.0/24`

/** Makes the namespaces of the nodes and the switch, with the nodes' uplinks in place. `nodes` is how many (1..10). */
export async function makeNetwork(labId: string, nodes: number): Promise<void> {
  const hub = switchNetns(labId)
  const indexes = Array.from({ length: nodes }, (_, at) => at + 1)
  const spaces = [hub, ...indexes.map((index) => nodeNetns(labId, nodeName(index)))]
  await ipBatch([
    ...spaces.map((name) => `netns add ${name}`),
    ...indexes.map((index) => {
      const node = nodeNetns(labId, nodeName(index))
      return `link add name eth0 netns ${node} type veth peer name n${String(index)} netns ${hub}`
    }),
  ])
  await ipBatch(
    [
      'link set lo up',
      'link add br0 type bridge',
      `addr add ${SWITCH_ADDRESS}/24 dev br0`,
      'link set br0 up',
      ...indexes.flatMap((index) => [`link set n${String(index)} master br0`, `link set n${String(index)} up`]),
    ],
    hub,
  )
  for (const index of indexes) await ipBatch(nodeLines(index, nodes), nodeNetns(labId, nodeName(index)))
}

function nodeLines(index: number, nodes: number): string[] {
  const others = Array.from({ length: nodes }, (_, at) => at + 1).filter((other) => other !== index)
  return [
    'link set lo up',
    // Local on each node, as a node-local DNS cache would be: no translation, no hop. Scope host: never chosen as a source.
    `addr add ${CLUSTER_DNS}/32 dev lo scope host`,
    `addr add ${nodeAddress(index)}/24 dev eth0`,
    'link set eth0 up',
    `route add default via ${SWITCH_ADDRESS}`,
    ...others.map((other) => `route add ${podCidr(other)} via ${nodeAddress(other)}`),
  ]
}

/** Makes a pod's namespace, veth and routes, from inside its node's namespace; the node speaks to it from `source`. */
export async function makePodNetwork(labId: string, podUid: string, address: string, source: string): Promise<void> {
  const netns = podNetns(labId, podUid)
  const link = podLink(podUid)
  await ipBatch([
    `netns add ${netns}`,
    `link add name ${link} address ${GATEWAY_MAC} type veth peer name eth0 netns ${netns}`,
    `link set ${link} up`,
    `route add ${address}/32 dev ${link} src ${source}`,
  ])
  await ipBatch(
    [
      'link set lo up',
      `addr add ${address}/32 dev eth0`,
      'link set eth0 up',
      `route add ${GATEWAY} dev eth0 scope link`,
      `route add default via ${GATEWAY} dev eth0 src ${address}`,
      `neigh replace ${GATEWAY} lladdr ${GATEWAY_MAC} dev eth0 nud permanent`,
    ],
    netns,
  )
}

/** Removes what makePodNetwork made, in any state. The link goes first: a namespace can outlive its name while someone holds it. */
export async function removePodNetwork(labId: string, podUid: string): Promise<void> {
  const lines = [`link del ${podLink(podUid)}`, `netns del ${podNetns(labId, podUid)}`]
  // -force: either of the two may be gone already.
  await mustRun('ip', ['-force', '-batch', '-'], lines.join('\n') + '\n').catch(() => undefined)
}

/** Names under /run/netns that belong to the lab (all labs' when no id is given). */
export async function netnsNames(labId?: string): Promise<string[]> {
  const mine = labId === undefined ? /^weft-[0-9a-f]{6}-/ : new RegExp(`^weft-${labId}-`)
  const names = await readdir(NETNS_FOLDER).catch(() => [])
  return names.filter((name) => mine.test(name))
}

/** Deletes all namespaces of a lab; returns their names. */
export async function removeNetwork(labId: string): Promise<string[]> {
  const names = await netnsNames(labId)
  if (names.length > 0) {
    await mustRun('ip', ['-force', '-batch', '-'], names.map((name) => `netns del ${name}\n`).join('')).catch(
      () => undefined,
    )
  }
  const left = await netnsNames(labId)
  if (left.length > 0) throw new Error(`could not delete network namespaces: ${left.join(' ')}`)
  return names
}

/** Hands out the addresses of one node's pod range (.2 … .254), the longest unused first, so that none is re-used soon. */
export class AddressPool {
  readonly #free: string[]
  constructor(index: number) {
    this.#free = Array.from({ length: 253 }, (_, at) => `10.244.${String(index)}.${String(at + 2)}`)
  }
  /** The next free address, or undefined when all 253 are taken. */
  take(): string | undefined {
    return this.#free.shift()
  }
  giveBack(address: string): void {
    this.#free.push(address)
  }
}
