// Whether capture works, seen by trying: the agent dials as an application of the pod would, and as a stranger outside,
// and its own data side must answer both.
import net from 'node:net'
import { type CaptureTerms, covers } from '../../model/terms.ts'
import { familyOf, type SocketAddress } from '../../model/address.ts'
import { SELF_DIAL, selfDialAnswer } from '../../model/self-dial.ts'
import { type Captured, KernelError } from '../kernel.ts'
import { must, native, NO_MARK } from '../native.ts'

/** How long one answer may take. */
export const PROVE_TIMEOUT_MS = 2_000

/** Dials out of the pod. Rejects with KernelError where something else answers, or nobody. */
export function proveOutbound(pod: Captured, home: number, family: 4 | 6): Promise<void> {
  return expectOurs(pod, { from: pod.netns, home }, SELF_DIAL[family])
}

/** Dials the pod from its node; its gate must be open for that (FLAG.proved). */
export function proveInbound(pod: Captured, home: number, ip: string): Promise<void> {
  const listener = pod.listeners.find((each) => each.direction === 'inbound' && familyOf(each.ip) === familyOf(ip))
  if (listener === undefined) return Promise.reject(new KernelError('EAFNOSUPPORT', `self-dial into the pod at ${ip}`))
  return expectOurs(pod, { from: -1, home }, { ip, port: listener.port })
}

/** Families in which a self-dial out of the pod is turned: those that it has, unless its terms exclude that very dial. */
export function provable(ips: readonly string[], terms: CaptureTerms): readonly (4 | 6)[] {
  const families = ([4, 6] as const).filter((family) => ips.some((ip) => familyOf(ip) === family))
  const isOut = (family: 4 | 6): boolean =>
    terms.excludeOutboundCidrs.some((cidr) => covers(cidr, SELF_DIAL[family].ip)) ||
    terms.excludeOutboundPorts.includes(SELF_DIAL[family].port)
  return families.filter((family) => !isOut(family))
}

async function expectOurs(
  pod: Captured,
  { from, home }: { readonly from: number; readonly home: number },
  to: SocketAddress,
): Promise<void> {
  const what = `self-dial ${from < 0 ? 'into' : 'out of'} the pod`
  const fd = must(native().socketIn(from, home, familyOf(to.ip), -1, NO_MARK), what)
  const socket = new net.Socket({ fd, manualStart: true } as net.SocketConstructorOpts)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const fail = (code: string): void => reject(new KernelError(code, what))
  const timer = setTimeout(() => fail('ETIMEDOUT'), PROVE_TIMEOUT_MS)
  let said = ''
  socket.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? 'EIO'))
  socket.on('data', (chunk) => (said += chunk.toString('latin1')))
  socket.on('close', () => fail('EPROTO')) // somebody else was reached
  socket.on('end', () => {
    if (said === selfDialAnswer(pod.cookie)) resolve()
  })
  socket.connect({ host: to.ip, port: to.port })
  try {
    await promise
  } finally {
    clearTimeout(timer)
    socket.destroy()
  }
}
