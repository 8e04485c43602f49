// Ten thousand kept connections of one pod, through the real kernel: they cost little, and all still serve.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { probe } from '../../agent/kernel/probe.ts'
import { world } from '../../agent/model/world.fixture.ts'
import { native } from '../../agent/kernel/native.ts'
import { nativeTransport } from '../../agent/proxy/transport/transport-native.ts'
import { DataPlane } from '../../agent/proxy/plane/plane.ts'
import { bpfWorld } from '../kernel/world.ts'

const ability = probe()
const CONNECTIONS = 10_000
/** In use by this whole process, the proxy in it; the callers are another. */
const MB_PER_THOUSAND = 5

const perThousand = (bytes: number): string => ((bytes / 2 ** 20 / CONNECTIONS) * 1000).toFixed(1)

test('ten thousand idle connections are kept, and all answer', { timeout: 120_000 }, async (t) => {
  if (ability.able !== 'yes') return t.skip(ability.able === 'no' ? ability.needs : ability.why)
  const machine = bpfWorld(ability.cgroupRoot, 94)
  const [app, web] = [machine.pod(), machine.pod()]
  const shop = world()
    .service('app')
    .pods('app-v1', { ips: [app.ip] })
    .pods('web', { ips: [web.ip], behind: [] })
  const faults: string[] = []
  let records = 0
  const plane = new DataPlane({
    sockets: machine.sockets,
    transport: nativeTransport(native(), (thrown) => faults.push(String(thrown))),
    access: { write: () => void records++, dropped: 0, close: () => Promise.resolve() },
    onFault: (why) => faults.push(why),
  })
  const ticker = setInterval(() => plane.tick(), 500)
  let callers: ReturnType<typeof dialling> | undefined
  try {
    plane.apply(shop.inventory(1))
    machine.serve(app, 8080, answering)
    const before = memory()
    plane.capture(machine.kernel.capture({ ...web, uid: shop.pod('web-1').uid }))
    callers = dialling(web.uid)
    const line = callers.line
    assert.equal(await line(), `open ${CONNECTIONS}`)
    assert.equal(plane.node.live.size, CONNECTIONS)
    await new Promise((resolve) => setTimeout(resolve, 1000))
    const now = memory()
    const [used, resident] = [now.used - before.used, now.resident - before.resident].map(perThousand)
    t.diagnostic(`MB a 1000 idle connections: ${used} in use, ${resident} resident`)
    assert.ok(Number(used) < MB_PER_THOUSAND && Number(resident) < 2 * MB_PER_THOUSAND, `${used} and ${resident} MB`)
    callers.ask()
    assert.equal(await line(), `answered ${CONNECTIONS} of ${CONNECTIONS}`)
    assert.equal(records, 2 * CONNECTIONS)
    assert.deepEqual(faults, [])
  } finally {
    callers?.end()
    clearInterval(ticker)
    await plane.stop(0)
    await machine.close()
  }
})

/** The callers, a process in the pod of `uid`. They dial at once: only a pod that is captured has a way to where they go. */
function dialling(uid: string): {
  readonly line: () => Promise<string>
  readonly ask: () => void
  readonly end: () => void
} {
  const program = fileURLToPath(new URL('./idle-callers.ts', import.meta.url))
  const callers = spawn(
    'nsenter',
    [`--net=/run/netns/${uid}`, process.execPath, program, '10.96.0.1', '80', `${CONNECTIONS}`],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  const lines = createInterface({ input: callers.stdout })[Symbol.asyncIterator]()
  return {
    line: async () => String((await lines.next()).value),
    ask: () => void callers.stdin.write('\n'),
    end: () => void callers.kill(),
  }
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Memory of this process behind a collection: what is in use, and what the machine has given for it. */
function memory(): { readonly used: number; readonly resident: number } {
  collect()
  const { heapUsed, external, rss } = process.memoryUsage()
  return { used: heapUsed + external, resident: rss }
}

function answering(socket: Socket): void {
  socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere'))
}
