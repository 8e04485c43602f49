// What a pod has before its first container: a network namespace with an address, a cgroup, a process that holds both
// (as every container runtime's sandbox does), and its own /etc/resolv.conf, hosts and hostname.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { V1Pod } from '@kubernetes/client-node'
import { makeCgroup, removeCgroup } from '../cgroup.ts'
import { type Attached, type Chain, attach, detach, readChain } from '../cni/chain.ts'
import {
  CLUSTER_DNS,
  GATEWAY,
  NETNS_FOLDER,
  makePodNetwork,
  nodeNetns,
  podLink,
  podNetns,
  removePodNetwork,
} from '../network.ts'
import type { NodeParts } from './parts.ts'

export interface Sandbox {
  readonly netns: string
  readonly address: string
  readonly hostname: string
  readonly cgroup: string
  /** The pod's folder in the lab's state folder: etc/, volumes/, logs/. */
  readonly folder: string
  /** What plug-ins of the node's network have been told of it; nothing with the node's own network. */
  attached?: Attached
}

/** Kubernetes takes at most 63 characters as a host name. */
const HOSTNAME_CHARS = 63

/** Makes a pod's sandbox. Throws with a sentence when the node has no address left or a tool fails. */
export async function makeSandbox(pod: V1Pod, node: NodeParts): Promise<Sandbox> {
  const uid = pod.metadata?.uid ?? ''
  const onHost = pod.spec?.hostNetwork === true
  const folder = join(node.stateFolder, 'pods', uid)
  const cgroup = join(node.kubepods, qosFolder(pod), `pod${uid}`)
  const hostname = onHost ? node.name : (pod.spec?.hostname ?? pod.metadata?.name ?? uid).slice(0, HOSTNAME_CHARS)
  const address = onHost ? node.address : node.addresses.take()
  if (address === undefined) throw new Error(`no address left on ${node.name}: it holds 253 pods already`)
  const netns = onHost ? nodeNetns(node.labId, node.name) : podNetns(node.labId, uid)
  const sandbox: Sandbox = { netns, address, hostname, cgroup, folder }
  try {
    if (!onHost) await makePodNetwork(node.labId, uid, address, node.address)
    await writeEtc(pod, sandbox)
    // before any process of the pod is there
    if (!onHost) await attachPod(pod, node, sandbox)
    await makeCgroup(join(cgroup, 'sandbox'))
    holdOpen(sandbox)
  } catch (error) {
    await removeSandbox(pod, node, sandbox)
    throw error
  }
  return sandbox
}

async function attachPod(pod: V1Pod, node: NodeParts, sandbox: Sandbox): Promise<void> {
  const { namespace = '', name = '', uid = '' } = pod.metadata ?? {}
  const attachment = {
    containerId: randomBytes(32).toString('hex'),
    netns: join(NETNS_FOLDER, sandbox.netns),
    ...{ namespace, pod: name, uid },
  }
  const made = { link: podLink(uid), address: sandbox.address, gateway: GATEWAY }
  sandbox.attached = await readChain(node.host, attachment, made)
  await attach(chainOf(node, sandbox), sandbox.attached)
}

const chainOf = (node: NodeParts, sandbox: Sandbox): Chain => ({
  ...{ host: node.host, scratch: join(sandbox.folder, 'cni') },
  log: (sentence) => node.log(sentence),
})

/** Where kubelets put a pod's cgroup, by its quality of service (the server's word); guaranteed pods sit at the top. */
function qosFolder(pod: V1Pod): string {
  const qos = pod.status?.qosClass ?? 'BestEffort'
  return qos === 'Guaranteed' ? '' : qos.toLowerCase()
}

/** The holder enters the namespace first and the cgroup second: whoever looks into the cgroup finds only the pod's namespace. */
function holdOpen(sandbox: Sandbox): void {
  const script = 'echo $$ >"$0/cgroup.procs" && exec sleep infinity'
  const args = [`--net=${NETNS_FOLDER}/${sandbox.netns}`, '/bin/sh', '-c', script, join(sandbox.cgroup, 'sandbox')]
  const child = spawn('nsenter', args, { stdio: 'ignore', detached: true, cwd: '/' })
  child.on('error', () => undefined)
  child.unref()
}

async function writeEtc(pod: V1Pod, sandbox: Sandbox): Promise<void> {
  const folder = join(sandbox.folder, 'etc')
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'resolv.conf'), resolvConf(pod))
  await writeFile(join(folder, 'hosts'), hostsFile(pod, sandbox))
  await writeFile(join(folder, 'hostname'), `${sandbox.hostname}\n`)
}

/** /etc/resolv.conf by the pod's dnsPolicy and dnsConfig. */
export function resolvConf(pod: V1Pod): string {
  const namespace = pod.metadata?.namespace ?? 'default'
  const config = pod.spec?.dnsConfig
  const cluster = pod.spec?.dnsPolicy !== 'None'
  const servers = [...(cluster ? [CLUSTER_DNS] : []), ...(config?.nameservers ?? [])]
  const domains = cluster ? [`${namespace}.svc.cluster.local`, 'svc.cluster.local', 'cluster.local'] : []
  const search = [...domains, ...(config?.searches ?? [])]
  const extra = (config?.options ?? []).map(({ name, value }) =>
    value === undefined ? name : `${name ?? ''}:${value}`,
  )
  const options = [...(cluster && !extra.some((each) => each?.startsWith('ndots:')) ? ['ndots:5'] : []), ...extra]
  return [
    ...servers.map((server) => `nameserver ${server}`),
    ...(search.length > 0 ? [`search ${search.join(' ')}`] : []),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
    '',
  ].join('\n')
}

function hostsFile(pod: V1Pod, sandbox: Sandbox): string {
  const { hostname, address } = sandbox
  const namespace = pod.metadata?.namespace ?? 'default'
  const subdomain = pod.spec?.subdomain
  const full = subdomain === undefined ? '' : `${hostname}.${subdomain}.${namespace}.svc.cluster.local\t`
  const aliases = (pod.spec?.hostAliases ?? []).map((alias) => `${alias.ip}\t${(alias.hostnames ?? []).join('\t')}`)
  return ['127.0.0.1\tlocalhost', '::1\tlocalhost', `${address}\t${full}${hostname}`, ...aliases, ''].join('\n')
}

/** Kills what still runs in the pod and removes all that makeSandbox made, in any state. Once it resolves, the address is free. */
export async function removeSandbox(pod: V1Pod, node: NodeParts, sandbox: Sandbox | null): Promise<void> {
  const uid = pod.metadata?.uid ?? ''
  const cgroup = sandbox?.cgroup ?? join(node.kubepods, qosFolder(pod), `pod${uid}`)
  await removeCgroup(cgroup)
  const onHost = pod.spec?.hostNetwork === true
  if (sandbox?.attached) await detach(chainOf(node, sandbox), sandbox.attached)
  if (!onHost) await removePodNetwork(node.labId, uid)
  await rm(join(node.stateFolder, 'pods', uid), { recursive: true, force: true })
  // Last: where a step before it fails, all of this is done again.
  if (sandbox && !onHost) node.addresses.giveBack(sandbox.address)
}
