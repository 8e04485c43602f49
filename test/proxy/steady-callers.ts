// A program that asks at a steady pace, on a kept connection and on a new one in turn. Arguments: address, port.
// For each line in, a number of requests, a line out: JSON of how many were answered of how many, p50 and p99 in milliseconds.

import { Agent, get } from 'node:http'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

const [host = '', port = ''] = process.argv.slice(2)
const EVERY_MS = 10
const kept = new Agent({ keepAlive: true, maxSockets: 8 })
const fresh = new Agent({ keepAlive: false })

function ask(agent: Agent): Promise<number | null> {
  const startedAt = performance.now()
  return new Promise((resolve) => {
    const request = get({ host, port: Number(port), agent, headers: { host: 'app' } }, (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode === 200 ? performance.now() - startedAt : null))
    })
    request.on('error', () => resolve(null))
  })
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = []
  const startedAt = performance.now()
  for (let count = 0; count < Number(line); count++) {
    asked.push(ask(count % 2 === 0 ? kept : fresh))
    await sleep(Math.max(0, startedAt + (count + 1) * EVERY_MS - performance.now()))
  }
  const took = (await Promise.all(asked)).filter((ms) => ms !== null).sort((a, b) => a - b)
  const at = (share: number): number => took[Math.min(took.length - 1, Math.floor(share * took.length))] ?? NaN
  console.log(JSON.stringify({ asked: asked.length, answered: took.length, p50: at(0.5), p99: at(0.99) }))
}
