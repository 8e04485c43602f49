// Loopback addresses that are this test process's alone: files run side by side, with fixed ports at the addresses of pods,
// and a process id is no guard, for two of them can be equal in what is left of a division.
import { once } from 'node:events'
import { createServer } from 'node:net'

const FIRST = 16
const COUNT = 200

/** Tries to hold the name of a network for as long as this process lives: an abstract socket, gone with it (unix(7)). */
async function claim(network: number): Promise<boolean> {
  const server = createServer().unref()
  try {
    server.listen(`\0weft-test-network-${network}`)
    await once(server, 'listening')
    return true
  } catch {
    return false // another process has it
  }
}

async function claimed(): Promise<string> {
  for (let tries = 0; tries < COUNT; tries++) {
    const network = FIRST + ((process.pid + tries) % COUNT)
    if (await claim(network)) return `127.${network}.`
  }
  throw new Error(`all ${COUNT} test networks are taken`)
}

/** The first two numbers of this process's own addresses, and the dot behind them: `127.42.`. */
export const NETWORK = await claimed()
