// The kubelet's own cgroup, by the names that distributions give it: connects from there are probes.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Units that run a kubelet: its own, and those of distributions that have it inside. */
const KUBELET_UNITS = [
  'kubelet.service',
  'k3s.service',
  'k3s-agent.service',
  'rke2-server.service',
  'rke2-agent.service',
  'snap.microk8s.daemon-kubelite.service',
  'k0sworker.service',
  'k0scontroller.service',
]

/** Slices that a distribution puts the unit in: most, Bottlerocket and EKS, older EKS, kind. */
const KUBELET_SLICES = ['', 'system.slice', 'runtime.slice', 'podruntime.slice', 'kubelet.slice']

/** Cgroups of kubelets that no systemd starts: Talos. */
const KUBELET_CGROUPS = ['podruntime/kubelet']

/** The kubelet's cgroup directory under a cgroup2 root, or null: none of these names, or all processes in version 1. */
export function findKubeletCgroup(root: string): string | null {
  const units = KUBELET_SLICES.flatMap((slice) => KUBELET_UNITS.map((unit) => join(root, slice, unit)))
  return [...units, ...KUBELET_CGROUPS.map((path) => join(root, path))].find(isPopulated) ?? null
}

/** A unit's cgroup may stand empty: some kubelets move themselves into another. */
function isPopulated(cgroup: string): boolean {
  try {
    return /^populated 1$/m.test(readFileSync(join(cgroup, 'cgroup.events'), 'utf8'))
  } catch {
    return false
  }
}
