// A node and its pods as network namespaces: each pod hangs on a routed veth of the node, as most CNIs do it. Everything
// carries this process's id in its name and is gone after close().
import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { once } from 'node:events'

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] })
}

function inside(name: string, ...command: string[]): void {
  execFileSync('nsenter', [`--net=/run/netns/${name}`, ...command], { stdio: ['ignore', 'ignore', 'pipe'] })
}

export interface TestPod {
  readonly name: string
  readonly ip: string
  readonly ip6: string
  /** fd of its network namespace */
  readonly netns: number
}

/** One node. */
export class TestNode {
  static #nodes = 0
  readonly name = `t-k${process.pid}-${TestNode.#nodes++}`
  /** fd of the node's network namespace */
  readonly netns: number
  readonly #net: number
  readonly #names: string[] = []
  readonly #fds: number[] = []
  readonly #running = new Set<ChildProcess>()

  /** `net`: the third byte of its pods' addresses, 10.231.<net>.x, and the third word of fd00:231:<net>::x */
  constructor(net: number) {
    this.#net = net
    this.#add(this.name)
    inside(this.name, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
    this.netns = this.#open(this.name)
  }

  pod(short: string): TestPod {
    const name = `${this.name}${short}`
    const address = `10.231.${this.#net}.${this.#names.length + 1}`
    const address6 = `fd00:231:${this.#net}::${this.#names.length + 1}`
    const veth = `v${this.#names.length}`
    this.#add(name)
    ip('-n', this.name, 'link', 'add', veth, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
    ip('-n', this.name, 'address', 'add', '169.254.1.1/32', 'dev', veth)
    ip('-n', this.name, 'address', 'add', 'fe80::1/64', 'dev', veth, 'nodad')
    ip('-n', this.name, 'link', 'set', veth, 'up')
    ip('-n', name, 'address', 'add', `${address}/32`, 'dev', 'eth0')
    ip('-n', name, 'address', 'add', `${address6}/128`, 'dev', 'eth0', 'nodad')
    ip('-n', name, 'link', 'set', 'eth0', 'up')
    ip('-n', name, 'route', 'add', '169.254.1.1', 'dev', 'eth0')
    ip('-n', name, 'route', 'add', 'default', 'via', '169.254.1.1')
    ip('-n', name, '-6', 'route', 'add', 'default', 'via', 'fe80::1', 'dev', 'eth0')
    ip('-n', this.name, 'route', 'add', `${address}/32`, 'dev', veth)
    ip('-n', this.name, '-6', 'route', 'add', `${address6}/128`, 'dev', veth)
    return { name, ip: address, ip6: address6, netns: this.#open(name) }
  }

  /** Runs a Python program in the namespace of that name. Its output's first line is awaited where `ready`. */
  async python(name: string, program: string, ready = false): Promise<ChildProcess> {
    const child = spawn('nsenter', [`--net=/run/netns/${name}`, 'timeout', '60', 'python3', '-uc', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.#running.add(child)
    child.once('exit', () => this.#running.delete(child))
    if (ready) await once(child.stdout, 'data')
    return child
  }

  /** Runs a Python program to its end and returns what it printed. */
  async printed(name: string, program: string): Promise<string> {
    const child = await this.python(name, program)
    let text = ''
    child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()))
    await once(child, 'close')
    return text.trim()
  }

  /** The pod ends: nothing of ours holds its namespace any more. */
  remove(pod: TestPod): void {
    closeSync(pod.netns)
    this.#fds.splice(this.#fds.indexOf(pod.netns), 1)
    ip('netns', 'delete', pod.name)
    this.#names.splice(this.#names.indexOf(pod.name), 1)
  }

  async close(): Promise<void> {
    for (const child of this.#running) {
      child.kill()
      await once(child, 'exit')
    }
    for (const fd of this.#fds) closeSync(fd)
    for (const name of this.#names.reverse()) ip('netns', 'delete', name)
  }

  #add(name: string): void {
    ip('netns', 'add', name)
    this.#names.push(name)
    ip('-n', name, 'link', 'set', 'lo', 'up')
  }

  #open(name: string): number {
    const fd = openSync(`/run/netns/${name}`, 'r')
    this.#fds.push(fd)
    return fd
  }
}
