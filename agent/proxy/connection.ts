// The corridor. Every connection walks it, outbound and inbound alike, and is accounted for however it ends.
//
//     capture → authenticate → classify → route → pick → authorize → connect → relay → account
//
// HTTP walks from route on once a request (http.ts), TCP once (tcp.ts). The steps are named in model/failure.ts.

import { failureOf } from '../model/failure.ts'
import { principalOf, workloadOf } from '../model/identity.ts'
import { selfDialAnswer } from '../model/self-dial.ts'
import type { ConnectionLedger } from '../telemetry/ledger.ts'
import { authenticate, known, meet, type Met } from './authenticate.ts'
import { capture } from './capture.ts'
import { type Call, classify } from './classify.ts'
import { serveHttp } from './http.ts'
import { type Arrival, leave, type MeshNode, type Walk } from './plane/node.ts'
import type { Channel } from './transport/transport.ts'
import { carry } from './tcp.ts'

/** Carries one accepted connection to its end: one of HTTP goes on without this walk once its requests begin. Never rejects. */
export async function serve(arrival: Arrival, node: MeshNode): Promise<void> {
  const ledger = node.account.open(arrival.direction) // written exactly once, however we leave
  const place = node.live.enter(arrival, ledger) // before any check: no policy change slips between
  const walk = { node, ledger, place }
  const call = await upToHttp(arrival, walk)
  if (call === null) leave(walk)
  else serveHttp(call, walk) // route … relay, once a request
}

/** All steps ahead of HTTP's requests; null where it is over by then. Never rejects. */
async function upToHttp(arrival: Arrival, walk: Walk): Promise<Call | null> {
  const { node, ledger, place } = walk
  let { channel } = arrival
  try {
    const captured = capture(arrival, node) // who dialled, and whom
    if (captured === 'self-dial') {
      answerSelfDial(arrival, ledger)
      return null
    }
    ledger.dialled = captured.dialled
    ledger.peer = captured.peer
    ledger.pod = node.snapshot.workloadByUid.get(arrival.pod.captured.uid) ?? null
    // a proof, or a reason why there is none
    let met: Met | null = known(captured, node) ?? (await place.until(authenticate(captured, node, place), dropped))
    while (met !== null) {
      ;({ channel } = met)
      const { caller } = met
      ledger.caller = workloadOf(caller)
      ledger.principal = principalOf(caller, node.snapshot.settings.mesh)
      ledger.isSecured = caller.kind === 'peer'
      const call: Call = await place.until(classify(met, node), () => {}) // service, protocol: declared, else sniffed
      ledger.service = call.service?.service ?? null
      ledger.serverName = call.serverName
      if (call.protocol === 'http') return call
      const late = await carry(call, caller, walk) // route … relay, once
      met = late === null ? null : await place.until(meet(captured, node, late), dropped) // it was the mesh's TLS after all
    }
  } catch (thrown) {
    ledger.fail(failureOf(thrown))
    channel.reset()
  }
  return null
}

/** The connection was given up while it was being secured. */
function dropped({ channel }: { readonly channel: Channel }): void {
  channel.reset()
}

/** The agent itself looks whether its capture works: it is told whose listener it has come to. */
function answerSelfDial({ channel, pod }: Arrival, ledger: ConnectionLedger): void {
  ledger.isSelfDial = true
  const answer = Buffer.from(selfDialAnswer(pod.captured.cookie))
  channel.write(answer, 0, answer.length, null)
  channel.close()
}
