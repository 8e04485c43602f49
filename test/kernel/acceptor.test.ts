// The acceptor where the process has no fd left, and where its thread is ended.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { createInterface } from 'node:readline'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { native, NO_MARK } from '../../agent/kernel/native.ts'

const acceptor = new URL('../../agent/kernel/acceptor.ts', import.meta.url).href
const nativeDoor = new URL('../../agent/kernel/native.ts', import.meta.url).href

/** Accepts with every fd taken, and frees them after half a second. */
const PROGRAM = `
import { closeSync, openSync } from 'node:fs'
import { openAcceptor } from '${acceptor}'
import { native } from '${nativeDoor}'
const listener = native().listenIn(-1, -1, { ip: '127.0.0.1', port: 0, backlog: 64, own: -1, mark: new Uint8Array(0) })
let faults = 0, code = '', used = process.cpuUsage()
openAcceptor(listener, {
  onAccept: (fd) => {
    const { user, system } = process.cpuUsage(used)
    native().closeFd(fd)
    console.log(JSON.stringify({ faults, code, cpuMs: (user + system) / 1000 }))
    process.exit(0)
  },
  onFault: (error) => { faults++; code = error.code },
})
console.log(native().ends(listener).localPort)
process.stdin.once('data', () => {
  const taken = []
  try { for (;;) taken.push(openSync('/dev/null')) } catch {}
  used = process.cpuUsage()
  console.error('full')
  setTimeout(() => taken.forEach((fd) => closeSync(fd)), 500)
})
`

test(
  'without fds accepting pauses instead of spinning, and goes on when there are some',
  { timeout: 20_000 },
  async () => {
    const command = ['-c', 'ulimit -n 128; exec "$0" --input-type=module -e "$1"', process.execPath, PROGRAM]
    const child = spawn('sh', command, { stdio: 'pipe' })
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const port = Number((await lines.next()).value)
    child.stdin.write('fill\n')
    await once(child.stderr, 'data')
    const client = net.connect(port, '127.0.0.1').on('error', () => undefined)
    const report = JSON.parse(String((await lines.next()).value)) as { faults: number; code: string; cpuMs: number }
    assert.equal(report.code, 'EMFILE')
    assert.ok(report.faults >= 2 && report.faults <= 8, `${report.faults} attempts in 500 ms`)
    assert.ok(report.cpuMs < 200, `${report.cpuMs} ms of CPU`)
    client.destroy()
    if (child.exitCode === null) await once(child, 'exit')
  },
)

const ACCEPTING = `
const { parentPort, workerData } = require('node:worker_threads')
Promise.all([import(workerData.acceptor), import(workerData.native)]).then(([{ openAcceptor }, { native }]) => {
  const onAccept = (fd) => native().closeFd(fd)
  for (const fd of workerData.listeners) openAcceptor(fd, { onAccept, onFault: () => undefined })
  if (workerData.ends === 'exit') setTimeout(() => process.exit(), 5)
  if (workerData.ends === 'throw') setTimeout(() => { throw new Error('as told') }, 5)
  parentPort.postMessage('up')
})`

test('a thread that is ended while it accepts ends alone', { timeout: 60_000 }, async () => {
  const listeners = [1, 2, 3].map(() =>
    native().listenIn(-1, -1, { ip: '127.0.0.1', port: 0, backlog: 512, own: -1, mark: NO_MARK }),
  )
  const ports = listeners.map((fd) => native().ends(fd).localPort)
  for (let round = 0; round < 24; round++) {
    const ends = ['terminate', 'exit', 'throw'][round % 3]
    const workerData = { acceptor, native: nativeDoor, listeners, ends }
    const worker = new Worker(ACCEPTING, { eval: true, workerData }).on('error', () => undefined)
    // not once(): an error would reject it
    const exited = new Promise((resolve) => worker.once('exit', resolve))
    await new Promise((resolve) => worker.once('message', resolve))
    const sockets = Array.from({ length: 60 }, (_, i) =>
      net.connect(ports[i % 3] as number, '127.0.0.1').on('error', () => undefined),
    )
    if (ends === 'terminate') setTimeout(() => void worker.terminate(), round % 7)
    await exited
    for (const socket of sockets) socket.destroy()
    await sleep(10)
  }
  for (const fd of listeners) native().closeFd(fd)
})
