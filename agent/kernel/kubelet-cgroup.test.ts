import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { findKubeletCgroup } from './kubelet-cgroup.ts'

/** A tree of cgroups, each populated or not, and what is found in it. */
function findIn(cgroups: Readonly<Record<string, 0 | 1>>): string | null {
  const root = mkdtempSync(join(tmpdir(), 'weft-kubelet-'))
  try {
    for (const [path, populated] of Object.entries(cgroups)) {
      mkdirSync(join(root, path), { recursive: true })
      writeFileSync(join(root, path, 'cgroup.events'), `populated ${populated}\nfrozen 0\n`)
    }
    return findKubeletCgroup(root)?.slice(root.length + 1) ?? null
  } finally {
    rmSync(root, { recursive: true })
  }
}

test("the kubelet's cgroup is known by the name that its distribution gives it", () => {
  for (const path of [
    'system.slice/kubelet.service', // kubeadm, GKE, AKS, OpenShift
    'runtime.slice/kubelet.service', // Bottlerocket, EKS on Amazon Linux 2023
    'kubelet.slice/kubelet.service', // kind, as seen from its node
    'system.slice/k3s.service',
    'system.slice/k3s-agent.service',
    'system.slice/rke2-server.service',
    'system.slice/rke2-agent.service',
    'system.slice/k0sworker.service',
    'system.slice/k0scontroller.service',
    'system.slice/snap.microk8s.daemon-kubelite.service',
    'podruntime/kubelet', // Talos
  ]) {
    assert.equal(findIn({ 'system.slice/ssh.service': 1, [path]: 1 }), path)
  }
})

test('a cgroup in which no process is stands for none, nor does another unit', () => {
  assert.equal(findIn({ 'system.slice/kubelet.service': 0 }), null)
  const moved = { 'system.slice/kubelet.service': 0, 'kubelet.slice/kubelet.service': 1 } as const
  assert.equal(findIn(moved), 'kubelet.slice/kubelet.service')
  assert.equal(findIn({ 'system.slice/containerd.service': 1, 'user.slice/kubelet.service': 1 }), null)
  assert.equal(findIn({}), null)
})
