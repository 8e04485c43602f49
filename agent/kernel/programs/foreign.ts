// Other programs at the connect hooks that run ahead of ours: a load balancer that rewrites what is dialled there hides
// from us which Service it was.
import { closeSync, openSync } from 'node:fs'
import { native } from '../native.ts'
import { ATTACH, type NodePrograms } from './node.ts'

/** Programs looked at, a hook. */
const MOST = 64

/** Load balancers at connect(), by how their programs' names begin, and what to set so that they leave pods to us. */
const BALANCERS: readonly { readonly names: RegExp; readonly says: string }[] = [
  { names: /^(cil_)?sock[46]_/, says: 'Cilium’s socket load balancer: set socketLB.hostNamespaceOnly=true' },
  { names: /^(calico_connect|cali_ctlb)/, says: 'Calico’s connect-time load balancer: switch it off' },
]

/** One sentence a load balancer that is ahead. Names are those the kernel keeps, 15 characters. */
export function sentencesOf(ahead: readonly string[]): readonly string[] {
  const known = BALANCERS.filter(({ names }) => ahead.some((name) => names.test(name)))
  return known.map(({ says }) => `service addresses are rewritten before Weft sees them by ${says}`)
}

/** Names of the programs that run ahead of ours at a cgroup's connect hooks, those of other agents of the mesh left out. */
export function programsAhead(programs: NodePrograms, cgroupRoot: string): readonly string[] {
  const root = openSync(cgroupRoot, 'r')
  try {
    return (['connect4', 'connect6'] as const).flatMap((hook) => {
      const ids = new Uint32Array(MOST)
      const count = Math.max(0, native().attachedAt(root, ATTACH[hook], ids))
      const own = programs.idOf(hook)
      const before = [...ids.subarray(0, count)]
      return before
        .slice(0, Math.max(0, before.indexOf(own)))
        .map((id) => native().programName(id))
        .filter((name) => name !== '' && !name.startsWith('weft_'))
    })
  } finally {
    closeSync(root)
  }
}
