// Fetches what an issuer publishes: one text by HTTP, bounded in time, size and hops, and never from the node itself.

import { lookup as resolveName } from 'node:dns'
import { request as requestPlain, type IncomingMessage } from 'node:http'
import { request as requestSecured } from 'node:https'
import { BlockList, isIP, type LookupFunction } from 'node:net'

export interface FetchOptions {
  /** Longest text, in bytes. */
  readonly bytesMost: number
  /** Whether addresses of the node itself and of its link are asked: of its kubelet, of the cloud's metadata. */
  readonly asksNode: boolean
  /**
   * The address of a host that the mesh knows, or null: names of Services need not be known to the node's resolver.
   * `isLost`: the resolver knows no such host.
   */
  readonly known: (host: string, isLost: boolean) => string | null
  /** The node's resolver, where it is another. */
  readonly resolve?: typeof resolveName
}

/** Fetches the text at a URL within so many milliseconds; rejects with the reason. `isRetry`: it failed the last time. */
export type FetchText = (url: string, timeoutMs: number, isRetry?: boolean) => Promise<string>

/** Answers that send elsewhere, in a row. */
const HOPS_MOST = 3
/** Fetches under way; others wait, and for so many that can be no more than there are sets. */
const AT_ONCE = 4
/** Those of them that may have failed the last time: however many hosts do not answer, one that does is asked soon. */
const RETRIES_AT_ONCE = 3

/**
 * RFC 1122 §3.2.1.3, RFC 3927, RFC 4291 §2.5.3, §2.5.6; multicast serves nobody here. Besides, where clouds answer their own
 * machines at an address that is not link-local: Azure, Alibaba Cloud, Oracle Cloud, and EC2 by IPv6.
 */
const NODE = new BlockList()
for (const [net, prefix] of [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['168.63.129.16', 32],
  ['100.100.100.200', 32],
  ['192.0.0.192', 32],
  ['224.0.0.0', 4],
  ['255.255.255.255', 32],
] as const) {
  NODE.addSubnet(net, prefix, 'ipv4')
}
for (const [net, prefix] of [
  ['::', 127],
  ['fd00:ec2::', 32],
  ['fe80::', 10],
  ['ff00::', 8],
] as const) {
  NODE.addSubnet(net, prefix, 'ipv6')
}

/** Whether an address is the node's own or of its link. IPv4 in IPv6 counts as what it is. */
export function isOfNode(ip: string): boolean {
  return NODE.check(ip, isIP(ip) === 6 ? 'ipv6' : 'ipv4')
}

/** A fetcher that has few fetches under way, and one for all who want the same text at the same time. */
export function fetcher(options: FetchOptions): FetchText {
  const underWay = new Map<string, Promise<string>>()
  const turns = turnsOf()
  const turn = async (url: string, timeoutMs: number, isRetry: boolean): Promise<string> => {
    await turns.take(isRetry)
    try {
      return await fetchText(url, timeoutMs, options)
    } finally {
      turns.give()
    }
  }
  return (url, timeoutMs, isRetry = false) => {
    const known = underWay.get(url)
    if (known !== undefined) return known
    const fetched = turn(url, timeoutMs, isRetry).finally(() => underWay.delete(url))
    underWay.set(url, fetched)
    return fetched
  }
}

/** Turns of fetches, each given back: first attempts before retries, and some are never a retry's. */
function turnsOf(): { readonly take: (isRetry: boolean) => Promise<void>; readonly give: () => void } {
  const first: (() => void)[] = []
  const again: (() => void)[] = []
  let begun = 0
  const next = (): void => {
    const line = first.length > 0 ? first : again
    if (begun >= (line === first ? AT_ONCE : RETRIES_AT_ONCE)) return
    const begin = line.shift()
    if (begin === undefined) return
    begun++
    begin()
  }
  return {
    take: (isRetry) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      ;(isRetry ? again : first).push(resolve)
      next()
      return promise
    },
    give: () => {
      begun--
      next()
    },
  }
}

async function fetchText(from: string, timeoutMs: number, options: FetchOptions): Promise<string> {
  const timeout = AbortSignal.timeout(timeoutMs)
  let url = urlOf(from)
  for (let hop = 0; ; hop++) {
    const answer = await get(url, timeout, options).catch((error: unknown) => {
      throw timeout.aborted ? new Error(`no answer in ${timeoutMs} ms`) : error
    })
    if (typeof answer === 'string') return answer
    if (hop >= HOPS_MOST) throw new Error(`it is sent elsewhere more than ${HOPS_MOST} times`)
    const next = urlOf(new URL(answer.location, url).href)
    if (url.protocol === 'https:' && next.protocol !== 'https:') throw new Error('it is sent from https to http')
    url = next
  }
}

function urlOf(text: string): URL {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw new Error('it is no http or https URL')
  return url
}

/** The text, or where it is to be had. */
function get(url: URL, signal: AbortSignal, options: FetchOptions): Promise<string | { readonly location: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<string | { readonly location: string }>()
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (isIP(host) !== 0 && !options.asksNode && isOfNode(host)) throw refusal(host)
  const send = url.protocol === 'https:' ? requestSecured : requestPlain
  const headers = { accept: 'application/jwk-set+json, application/json', 'user-agent': 'weft', connection: 'close' }
  const request = send(url, { method: 'GET', agent: false, signal, headers, lookup: lookupBy(options) })
  request.on('error', reject)
  request.on('response', (response) => {
    const { statusCode = 0, headers: fields } = response
    if (statusCode >= 300 && statusCode < 400 && fields.location !== undefined) {
      request.destroy()
      resolve({ location: fields.location })
    } else if (statusCode !== 200) {
      request.destroy()
      reject(new Error(`it answers with status ${statusCode}`))
    } else collect(response, options.bytesMost).then(resolve, reject)
  })
  request.end()
  return promise
}

async function collect(response: IncomingMessage, most: number): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length
    if (bytes > most) throw new Error(`it is longer than ${most} bytes`)
    parts.push(part)
  }
  if (!response.complete) throw new Error('its answer ends early')
  return Buffer.concat(parts).toString('utf8')
}

/** Looks names up, the mesh's own first. What it finds is what is dialled: no second look-up can say otherwise. */
function lookupBy({ known, asksNode, resolve = resolveName }: FetchOptions): LookupFunction {
  return (host, asked, answer) => {
    const ip = known(host, false)
    if (ip !== null) {
      answerWith([{ address: ip, family: isIP(ip) }])
      return
    }
    resolve(host, { ...asked, all: true }, (error, found) => {
      const own = error?.code === 'ENOTFOUND' ? known(host, true) : null
      if (own !== null) answerWith([{ address: own, family: isIP(own) }])
      else if (error === null) answerWith(found)
      else answer(error, '')
    })

    function answerWith(found: readonly { readonly address: string; readonly family: number }[]): void {
      const open = asksNode ? found : found.filter(({ address }) => !isOfNode(address))
      const [first] = open
      if (first === undefined) answer(refusal(found[0]?.address ?? host), '')
      else if (asked.all === true) answer(null, [...open])
      else answer(null, first.address, first.family)
    }
  }
}

function refusal(address: string): Error {
  return new Error(`${address} is an address of the node itself (--jwks-from-node)`)
}
