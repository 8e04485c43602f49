import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { AdminPort } from './admin-port.ts'

async function listenAt(port: number): Promise<Server> {
  const server = createServer((_, response) => response.end('here'))
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return server
}
const portOf = (server: Server): number => (server.address() as AddressInfo).port

test('a port that another has is waited for, and is to be had once it is given up', async () => {
  const first = await listenAt(0)
  const at = portOf(first)
  const port = new AdminPort(() => listenAt(at))
  await assert.rejects(port.open(), { code: 'EADDRINUSE' })
  const opened = port.open(5_000)
  first.close()
  await opened
  assert.equal((await fetch(`http://127.0.0.1:${at}/`)).status, 200)
  port.close()
  port.close()
  await assert.rejects(fetch(`http://127.0.0.1:${at}/`))
  await port.open()
  await port.open() // it does already
  port.close()
})

test('what is closed while it is waited for does not open later', async () => {
  const other = await listenAt(0)
  const at = portOf(other)
  const port = new AdminPort(() => listenAt(at))
  const opened = port.open(5_000)
  port.close()
  other.close()
  await opened
  await assert.rejects(fetch(`http://127.0.0.1:${at}/`))
})

test('what stands in the way is told in time, and the port is waited for all the same', async () => {
  const other = await listenAt(0)
  const at = portOf(other)
  const port = new AdminPort(() => listenAt(at))
  const told: string[] = []
  const opened = port.openAtLast(10, (reason) => told.push(reason))
  while (told.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  other.close()
  await opened
  assert.equal((await fetch(`http://127.0.0.1:${at}/`)).status, 200)
  assert.match(told.join(), /^[^,]*EADDRINUSE[^,]*$/)
  port.close()
})
