// The corridor. Every connection walks it, outbound and inbound alike, and is accounted for however it ends.
//
//     capture → authenticate → classify → route → pick → authorize → connect → relay → account
//
// HTTP walks from route on once a request (http.ts), TCP once (tcp.ts). The steps are named in model/failure.ts.

import { failureOf } from '../model/failure.ts'
import { workloadOf } from '../model/identity.ts'
import { selfDialAnswer } from '../model/self-dial.ts'
import type { ConnectionLedger } from '../telemetry/ledger.ts'
import { authenticate } from './authenticate.ts'
import { capture } from './capture.ts'
import { classify } from './classify.ts'
import { serveHttp } from './http.ts'
import type { Arrival, MeshNode } from './plane/node.ts'
import { carry } from './tcp.ts'

/** Carries one accepted connection to its end. Never rejects. */
export async function serve(arrival: Arrival, node: MeshNode): Promise<void> {
  using ledger = node.account.open(arrival.direction) // written exactly once, however we leave
  using place = node.live.enter(arrival, ledger) // before any check: no policy change slips between
  const walk = { node, ledger, place }
  try {
    const captured = capture(arrival, node) // who dialled, and whom
    if (captured === 'self-dial') return answerSelfDial(arrival, ledger)
    ledger.dialled = captured.dialled
    ledger.peer = captured.peer
    const caller = authenticate(captured, node) // a proof, or a reason why there is none
    ledger.caller = workloadOf(caller)
    ledger.pod = node.snapshot.workloadByUid.get(arrival.pod.captured.uid) ?? null
    const call = await place.until(classify(captured, node), () => {}) // service, protocol: declared, else sniffed
    ledger.service = call.service?.service ?? null
    if (call.protocol === 'http')
      await serveHttp(call, caller, walk) // route … relay, once a request
    else await carry(call, caller, walk) // route … relay, once
  } catch (thrown) {
    ledger.fail(failureOf(thrown))
    arrival.channel.reset()
  }
}

/** The agent itself looks whether its capture works: it is told whose listener it has come to. */
function answerSelfDial({ channel, pod }: Arrival, ledger: ConnectionLedger): void {
  ledger.isSelfDial = true
  const answer = Buffer.from(selfDialAnswer(pod.captured.cookie))
  channel.write(answer, 0, answer.length, null)
  channel.close()
}
