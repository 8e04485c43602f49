// Another load balancer at connect(): told where it runs ahead of ours, with what to set, and only then.
import assert from 'node:assert/strict'
import { closeSync, openSync } from 'node:fs'
import test from 'node:test'
import { openKernel } from '../../agent/kernel/bpf.ts'
import type { Kernel } from '../../agent/kernel/kernel.ts'
import { must, native } from '../../agent/kernel/native.ts'
import { probe } from '../../agent/kernel/probe.ts'
import { ATTACH } from '../../agent/kernel/programs/node.ts'
import { cgroupRoot } from './kernel-test.ts'

/** r0 = 1; exit: lets every connect pass. struct bpf_insn of linux/bpf.h. */
const PASS = Uint8Array.from([0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])
const NONE = new Uint8Array(0)

/** Attaches a program of this name at the root's connect4 hook. */
function attachForeign(name: string): Disposable {
  const root = openSync(cgroupRoot, 'r')
  const wish = { name, type: 18, attachType: ATTACH.connect4, code: PASS, functions: NONE, fields: NONE, btf: -1 }
  const program = must(native().loadProgram(wish).status, 'load')
  const link = must(native().attach(program, root, ATTACH.connect4), 'attach')
  closeSync(root)
  return {
    [Symbol.dispose]: () => {
      native().closeFd(link)
      native().closeFd(program)
    },
  }
}

function withKernel(run: (kernel: Kernel) => void): void {
  const kernel = openKernel({ cgroupRoot })
  try {
    run(kernel)
  } finally {
    kernel.close('remove')
  }
}

const skip = probe().able === 'no' ? 'pods cannot be captured here' : false

test('Cilium’s socket load balancer ahead of ours is told with the setting to change', { skip }, () => {
  using _ = attachForeign('cil_sock4_connect')
  withKernel((kernel) => assert.match(kernel.look().join(), /Cilium.*socketLB\.hostNamespaceOnly=true/))
})

test('one that was attached after ours sees what we have left of a connect, and is no matter', { skip }, () => {
  withKernel((kernel) => {
    using _ = attachForeign('cil_sock4_connect')
    assert.deepEqual(kernel.look(), [])
  })
})

test('a program ahead of ours that is no load balancer, and another agent of the mesh, are no matter', { skip }, () => {
  using _ = attachForeign('sd_devices')
  withKernel(() => withKernel((kernel) => assert.deepEqual(kernel.look(), [])))
})
