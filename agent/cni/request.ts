// What the plug-in asks, read from its JSON. Pure. The names in it are the container runtime's (CNI_ARGS), the addresses
// are those that the plug-ins before ours have given the pod.

import { canonicalIp } from '../model/address.ts'

export const COMMANDS = ['ADD', 'DEL', 'CHECK'] as const
export type Command = (typeof COMMANDS)[number]

export interface CniRequest {
  readonly command: Command
  readonly namespace: string
  /** Name of the pod. */
  readonly pod: string
  /** The pod's UID; '' where the runtime does not tell it. */
  readonly uid: string
  /** The sandbox: a pod whose sandbox is made anew has another. */
  readonly containerId: string
  /** The pod's own addresses, canonical, each once; none at DEL. */
  readonly ips: readonly string[]
  /** It wants to be told at once that it was heard. */
  readonly hears: boolean
}

/** What a plug-in is told at once that wants to know; the answer follows. */
export const HEARD = JSON.stringify({ heard: true })

/** What the plug-in is answered. */
export type CniAnswer = { readonly ok: true } | { readonly error: string }

/** Addresses of one pod; Kubernetes gives it one a family. */
const IPS_MAX = 16

/** Reads one message. Throws an error that names the field. */
export function parseRequest(text: string): CniRequest {
  const json = JSON.parse(text) as Readonly<Record<string, unknown>> | null
  const field = (name: string): string => {
    const value = json?.[name]
    if (typeof value !== 'string') throw new Error(`${name}: a text is required`)
    return value
  }
  const command = COMMANDS.find((each) => each === field('command'))
  if (command === undefined) throw new Error(`command: ${field('command')} is not one of ${COMMANDS.join(', ')}`)
  return {
    command,
    ...{ namespace: field('namespace'), pod: field('pod'), uid: field('uid'), containerId: field('containerId') },
    ips: ipsOf(json?.['prevResult'], field('ifname')),
    hears: json?.['hears'] === true,
  }
}

interface Interface {
  readonly name?: unknown
  readonly sandbox?: unknown
}

/**
 * The pod's addresses in a result (CNI specification, "Success"): those of the interface that was asked for, of any inside
 * the pod where none is named so, and those that name no interface.
 */
export function ipsOf(result: unknown, ifname: string): readonly string[] {
  const { ips, interfaces } = (result ?? {}) as { readonly ips?: unknown; readonly interfaces?: unknown }
  const all = Array.isArray(interfaces) ? (interfaces as readonly (Interface | null)[]) : []
  const inside = all.map((each) => (typeof each?.sandbox === 'string' && each.sandbox !== '' ? each.name : undefined))
  const hasNamed = inside.includes(ifname)
  const found = (Array.isArray(ips) ? ips : []).flatMap((each: unknown): string[] => {
    const { address, interface: index } = (each ?? {}) as { readonly address?: unknown; readonly interface?: unknown }
    const name = typeof index === 'number' ? inside[index] : ifname
    if (name === undefined || (hasNamed && name !== ifname)) return []
    const ip = typeof address === 'string' ? canonicalIp(address.split('/')[0] ?? '') : null
    return ip === null ? [] : [ip]
  })
  return [...new Set(found)].slice(0, IPS_MAX)
}
