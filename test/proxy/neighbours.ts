// A pod that wants all there is, and another on the same node that wants its answers, through the real kernel. A program of
// its own: the test runner watches every promise, and what that leaves to the collector would be measured.
// Prints JSON: what the neighbour saw before and during.

import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { probe } from '../../agent/kernel/probe.ts'
import { native } from '../../agent/kernel/native.ts'
import { world } from '../../agent/model/world.fixture.ts'
import { DEFAULT_LIMITS } from '../../agent/proxy/plane/limits.ts'
import { DataPlane } from '../../agent/proxy/plane/plane.ts'
import { nativeTransport } from '../../agent/proxy/transport/transport-native.ts'
import type { Sample } from '../../agent/telemetry/series.ts'
import { bpfWorld } from '../kernel/world.ts'

/** All that one pod may have, or most of what this machine lets one process open. */
const STALLED = Math.min(DEFAULT_LIMITS.podConnections, mostFds() - 1500)
const REQUESTS = 400

interface Steadiness {
  readonly answered: number
  readonly p50: number
  readonly p99: number
}

async function main(cgroupRoot: string): Promise<void> {
  const machine = bpfWorld(cgroupRoot, 95)
  const [app, greedy, steady] = [machine.pod(), machine.pod(), machine.pod()]
  const shop = world()
    .service('app')
    .pods('app-v1', { ips: [app.ip] })
    .pods('greedy', { ips: [greedy.ip], behind: [] })
    .pods('steady', { ips: [steady.ip], behind: [] })
  const faults: string[] = []
  const plane = new DataPlane({
    sockets: machine.sockets,
    transport: nativeTransport(native(), (thrown) => faults.push(String(thrown))),
    access: { write: () => {}, dropped: 0, close: () => Promise.resolve() },
    onFault: (why) => faults.push(why),
    limits: { podConnections: STALLED },
  })
  const ticker = setInterval(() => plane.tick(), 500)
  const programs: Program[] = []
  try {
    plane.apply(shop.inventory(1))
    machine.serve(app, 8080, answering)
    plane.capture(machine.kernel.capture({ ...greedy, uid: shop.pod('greedy-1').uid }))
    plane.capture(machine.kernel.capture({ ...steady, uid: shop.pod('steady-1').uid }))
    const quiet = inPod(steady.uid, 'steady-callers.ts')
    programs.push(quiet)
    const measure = async (): Promise<Steadiness> => {
      quiet.say(`${REQUESTS}`)
      return JSON.parse(await quiet.line()) as Steadiness
    }
    await measure()
    const before = await measure()
    const wanting = inPod(greedy.uid, 'greedy-callers.ts', `${STALLED}`)
    programs.push(wanting)
    const opened = await wanting.line()
    const during = await measure()
    wanting.close()
    const flooded = await wanting.line()
    const isRefusal = ({ name, labels }: Sample): boolean =>
      name === 'weft_failures_total' && labels.includes('SOCKET_LIMIT')
    const sample = plane.counters().find(isRefusal)
    const refused = sample !== undefined && 'value' in sample ? sample.value : 0
    console.log(JSON.stringify({ before, during, wanted: STALLED, opened, flooded, refused, faults }))
  } finally {
    for (const program of programs) program.end()
    clearInterval(ticker)
    await plane.stop(0)
    await machine.close()
  }
}

function mostFds(): number {
  return Number(/Max open files +(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1])
}

interface Program {
  readonly line: () => Promise<string>
  readonly say: (text: string) => void
  readonly close: () => void
  readonly end: () => void
}

/** A program beside this file, in the pod of `uid`, calling the service. It leaves the machine to others where they want it. */
function inPod(uid: string, file: string, ...rest: readonly string[]): Program {
  const program = fileURLToPath(new URL(`./${file}`, import.meta.url))
  const nice = file.startsWith('greedy') ? ['nice', '-n', '19'] : []
  const [command = '', ...args] = [...nice, 'nsenter', `--net=/run/netns/${uid}`, process.execPath, program]
  const child: ChildProcessByStdio<Writable, Readable, null> = spawn(command, [...args, '10.96.0.1', '80', ...rest], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    line: async () => String((await lines.next()).value),
    say: (text) => void child.stdin.write(`${text}\n`),
    close: () => child.stdin.end(),
    end: () => void child.kill(),
  }
}

function answering(socket: Socket): void {
  socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere'))
}

const ability = probe()
if (ability.able === 'yes') await main(ability.cgroupRoot)
process.exit()
