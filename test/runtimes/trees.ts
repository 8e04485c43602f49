// Cgroup trees as runtimes and cgroup drivers make them: which cgroups a pod has, and which processes are in them. Written
// down from the runtimes' documentation and from runs; only what stands under `pods` is a pod.

/** Pods of the trees: a UID for each class of service, and that of a static pod, which is a hash. */
const UIDS = {
  guaranteed: '2c1a7bb0-4d3e-4a55-9c0e-6f5d3f2a1b01',
  burstable: '5e0f6c11-8a2b-4c77-b1d2-0a9b8c7d6e02',
  besteffort: '9b7d3e22-1f6a-4e88-a2c3-4d5e6f708103',
  static: 'd41d8cd98f00b204e9800998ecf8427e',
} as const

export interface RecordedTree {
  readonly name: string
  /** A cgroup a line, with its processes. `{id}` is a container's id, `{guaranteed}` a UID, `{guaranteed_}` it with underscores. */
  readonly cgroups: string
  /** UID → processes of the pod, the monitors of the runtime left out. */
  readonly pods: Readonly<Record<string, readonly number[]>>
}

const ALL = { [UIDS.guaranteed]: [11, 12], [UIDS.burstable]: [21, 22], [UIDS.besteffort]: [31, 32] }

const ELSEWHERE = `
  init.scope 1
  system.slice/containerd.service 500 501 502
  system.slice/kubelet.service 600
  user.slice/user-1000.slice/session-1.scope 700`

/** Three pods with the systemd driver: sandbox and one container each, in scopes of this prefix. */
const systemd = (prefix: string, before = '', above = ''): string => {
  const name = before === '' ? '' : `${before}-`
  const root = `${above}${before === '' ? '' : `${before}.slice/`}${name}kubepods.slice`
  return `
  ${root}
  ${root}/${name}kubepods-pod{guaranteed_}.slice/${prefix}-{id}1.scope 11
  ${root}/${name}kubepods-pod{guaranteed_}.slice/${prefix}-{id}2.scope 12
  ${root}/${name}kubepods-burstable.slice/${name}kubepods-burstable-pod{burstable_}.slice/${prefix}-{id}3.scope 21
  ${root}/${name}kubepods-burstable.slice/${name}kubepods-burstable-pod{burstable_}.slice/${prefix}-{id}4.scope 22
  ${root}/${name}kubepods-besteffort.slice/${name}kubepods-besteffort-pod{besteffort_}.slice/${prefix}-{id}5.scope 31
  ${root}/${name}kubepods-besteffort.slice/${name}kubepods-besteffort-pod{besteffort_}.slice/${prefix}-{id}6.scope 32`
}

/** The same with the cgroupfs driver. */
const cgroupfs = (above = '', prefix = ''): string => `
  ${above}kubepods
  ${above}kubepods/pod{guaranteed}/${prefix}{id}1 11
  ${above}kubepods/pod{guaranteed}/${prefix}{id}2 12
  ${above}kubepods/burstable/pod{burstable}/${prefix}{id}3 21
  ${above}kubepods/burstable/pod{burstable}/${prefix}{id}4 22
  ${above}kubepods/besteffort/pod{besteffort}/${prefix}{id}5 31
  ${above}kubepods/besteffort/pod{besteffort}/${prefix}{id}6 32`

const CRIO_MONITORS = {
  systemd: `
  kubepods.slice/kubepods-pod{guaranteed_}.slice/crio-conmon-{id}1.scope 10
  kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{burstable_}.slice/crio-conmon-{id}3.scope 20
  kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{besteffort_}.slice/crio-conmon-{id}5.scope 30`,
  cgroupfs: `
  kubepods/pod{guaranteed}/crio-conmon-{id}1 10
  kubepods/burstable/pod{burstable}/crio-conmon-{id}3 20
  kubepods/besteffort/pod{besteffort}/crio-conmon-{id}5 30`,
}

export const TREES: readonly RecordedTree[] = [
  { name: 'containerd, systemd driver', cgroups: ELSEWHERE + systemd('cri-containerd'), pods: ALL },
  { name: 'containerd, cgroupfs driver', cgroups: ELSEWHERE + cgroupfs(), pods: ALL },
  {
    name: 'CRI-O, systemd driver, monitors in system.slice, no pause',
    cgroups: `
  system.slice/crio-conmon-{id}1.scope 10
  kubepods.slice/kubepods-pod{guaranteed_}.slice/crio-{id}1.scope 11
  kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{burstable_}.slice`,
    pods: { [UIDS.guaranteed]: [11], [UIDS.burstable]: [] },
  },
  { name: 'CRI-O, systemd driver, monitors in the pod', cgroups: systemd('crio') + CRIO_MONITORS.systemd, pods: ALL },
  { name: 'CRI-O, cgroupfs driver', cgroups: cgroupfs('', 'crio-') + CRIO_MONITORS.cgroupfs, pods: ALL },
  {
    name: 'CRI-O with crun, which gives a container a cgroup of its own below its scope',
    cgroups: `
  kubepods.slice/kubepods-pod{guaranteed_}.slice/crio-conmon-{id}1.scope 10
  kubepods.slice/kubepods-pod{guaranteed_}.slice/crio-{id}1.scope
  kubepods.slice/kubepods-pod{guaranteed_}.slice/crio-{id}1.scope/container 11 12`,
    pods: { [UIDS.guaranteed]: [11, 12] },
  },
  { name: 'docker by cri-dockerd, systemd driver', cgroups: systemd('docker'), pods: ALL },
  { name: 'docker by cri-dockerd, cgroupfs driver', cgroups: cgroupfs(), pods: ALL },
  {
    name: 'k3s and RKE2 (containerd within the unit), cgroupfs driver',
    cgroups: `
  system.slice/k3s.service 500 501 502${cgroupfs()}`,
    pods: ALL,
  },
  {
    name: 'k3s with its node in a container (k3d)',
    cgroups: `
  init 500 501${cgroupfs()}`,
    pods: ALL,
  },
  {
    name: 'Talos, MicroK8s: pods beside the cgroups of the system',
    cgroups: `
  init 1
  podruntime/kubelet 600
  podruntime/runtime 500 501
  system/apid 400${cgroupfs()}`,
    pods: ALL,
  },
  {
    name: 'kind, from inside its node',
    cgroups: `
  kubelet.slice/kubelet.service 600${systemd('cri-containerd', 'kubelet')}`,
    pods: ALL,
  },
  {
    name: 'kind, from the machine around it',
    cgroups: systemd('cri-containerd', 'kubelet', 'system.slice/docker-{id}.scope/'),
    pods: ALL,
  },
  {
    name: 'kind by Podman, from the machine around it',
    cgroups: systemd('cri-containerd', 'kubelet', 'machine.slice/libpod-{id}.scope/container/'),
    pods: ALL,
  },
  {
    name: 'kind on version 1, from the machine around it',
    cgroups: cgroupfs('docker/{id}/kubelet/'),
    pods: ALL,
  },
  { name: 'minikube by docker, cgroupfs driver', cgroups: cgroupfs('docker/{id}/'), pods: ALL },
  {
    name: 'a kubelet with --cgroup-root=/k8s-pods, systemd driver',
    cgroups: systemd('cri-containerd', 'k8s_pods'),
    pods: ALL,
  },
  { name: 'a kubelet with --cgroup-root=/k8s/pods, cgroupfs driver', cgroups: cgroupfs('k8s/pods/'), pods: ALL },
  {
    name: 'a static pod, systemd driver: its UID is the hash of its file',
    cgroups: `
  kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{static}.slice/cri-containerd-{id}1.scope 41`,
    pods: { [UIDS.static]: [41] },
  },
  {
    name: 'a static pod, cgroupfs driver',
    cgroups: `
  kubepods/burstable/pod{static}/{id}1 41`,
    pods: { [UIDS.static]: [41] },
  },
  {
    name: 'docker within a pod, and a pod that plays a kubelet: what is in there belongs to the pod',
    cgroups: `
  kubepods/pod{guaranteed}/{id}1 11
  kubepods/pod{guaranteed}/{id}2/docker/{id}3 12
  kubepods/pod{guaranteed}/{id}2/kubepods/pod{burstable} 13`,
    pods: { [UIDS.guaranteed]: [11, 12, 13] },
  },
  {
    name: 'containers, but none of a kubelet',
    cgroups: `
  system.slice/docker-{id}.scope 10
  docker/{id} 11
  machine.slice/libpod-{id}.scope/container 12
  libpod_parent/libpod-{id} 13
  default/pod{burstable} 14`,
    pods: {},
  },
  {
    name: 'a kubelet and a runtime of different drivers: the pod has a cgroup, its containers are outside of it',
    cgroups: `
  kubepods.slice/kubepods-pod{guaranteed_}.slice
  system.slice/containerd.service/kubepods-pod{guaranteed_}.slice:cri-containerd:{id}1 11`,
    pods: { [UIDS.guaranteed]: [] },
  },
]

/** The cgroups of a tree with their processes, the placeholders filled in. */
export function cgroupsOf(tree: RecordedTree): readonly { readonly path: string; readonly pids: readonly number[] }[] {
  const id = 'ab12'.repeat(15) + 'cd3' // 63 of 64 digits: the last is the container's
  const filled = Object.entries(UIDS).reduce(
    (text, [name, uid]) => text.replaceAll(`{${name}}`, uid).replaceAll(`{${name}_}`, uid.replaceAll('-', '_')),
    tree.cgroups.replaceAll('{id}', id),
  )
  const lines = filled.split('\n').map((line) => line.trim())
  return lines.filter(Boolean).map((line) => {
    const [path = '', ...pids] = line.split(' ')
    return { path, pids: pids.map(Number) }
  })
}
