// Ports that are, by their number, name or image, of a protocol that is no HTTP, and do not say so. What sniffing makes of
// them: a protocol in which the server speaks first costs each connection the wait for bytes that the caller does not send.

import { type AnalysisWorld, carries, type KnownService } from '../analysis/world.ts'
import type { ScenePod } from './scene.ts'

/** Who sends the first bytes of a connection. */
export type FirstSpeaker = 'server' | 'client'

interface Custom {
  readonly name: string
  readonly speaks: FirstSpeaker
  /** Registered with IANA, or what the software is shipped with. */
  readonly ports: readonly number[]
  /** Last parts of images' names, without tag. */
  readonly images: readonly string[]
  /** How port names begin, up to the first `-`, beside the name itself. */
  readonly alias?: readonly string[]
}

/**
 * Sources: RFC 959 §5.4 (ftp), 4253 §4.2 (ssh: both may begin), 5321 §3.1 (smtp), 1939 §3 (pop3), 9051 §7.1 (imap), 6143
 * §7.1 (vnc), 5734 §2 (epp); MySQL "Connection Phase", NATS "INFO", rsync's daemon greeting; PostgreSQL "Message Flow",
 * Redis RESP, MongoDB "Wire Protocol", Kafka "Protocol", AMQP 0-9-1 §4.2.2, MQTT 5 §3.1: there the client begins.
 */
const CUSTOMS: readonly Custom[] = [
  { name: 'ftp', speaks: 'server', ports: [21], images: ['vsftpd', 'proftpd', 'pure-ftpd'] },
  { name: 'ssh', speaks: 'server', ports: [22], images: ['openssh-server', 'sftp'], alias: ['sftp'] },
  { name: 'smtp', speaks: 'server', ports: [25, 587, 2525], images: ['postfix', 'exim', 'mailserver'] },
  { name: 'pop3', speaks: 'server', ports: [110], images: [] },
  { name: 'imap', speaks: 'server', ports: [143], images: ['dovecot'] },
  { name: 'epp', speaks: 'server', ports: [700], images: [] },
  { name: 'rsync', speaks: 'server', ports: [873], images: ['rsync', 'rsyncd'] },
  { name: 'mysql', speaks: 'server', ports: [3306], images: ['mysql', 'mariadb', 'percona'], alias: ['mariadb'] },
  { name: 'nats', speaks: 'server', ports: [4222], images: ['nats'] },
  { name: 'vnc', speaks: 'server', ports: [5900], images: [] },
  { name: 'postgres', speaks: 'client', ports: [5432], images: ['postgres', 'postgresql'], alias: ['postgresql'] },
  { name: 'redis', speaks: 'client', ports: [6379], images: ['redis', 'valkey', 'keydb'] },
  { name: 'mongodb', speaks: 'client', ports: [27017], images: ['mongo', 'mongodb'], alias: ['mongo'] },
  { name: 'kafka', speaks: 'client', ports: [9092], images: ['kafka', 'cp-kafka'] },
  { name: 'amqp', speaks: 'client', ports: [5672], images: ['rabbitmq'] },
  { name: 'mqtt', speaks: 'client', ports: [1883], images: ['mosquitto', 'eclipse-mosquitto'] },
  { name: 'memcached', speaks: 'client', ports: [11211], images: ['memcached'] },
  { name: 'cassandra', speaks: 'client', ports: [9042], images: ['cassandra', 'scylla'] },
  { name: 'zookeeper', speaks: 'client', ports: [2181], images: ['zookeeper'] },
  { name: 'ldap', speaks: 'client', ports: [389], images: ['openldap'] },
]

/** What a port looks like, and by what. */
export interface Guess {
  readonly protocol: string
  readonly speaks: FirstSpeaker
  /** `port 3306`, `image mysql`, `name smtp`. */
  readonly by: string
}

/** A port that should declare what it is. */
export interface PortHint extends Guess {
  readonly service: string
  readonly port: number
  /** `sniff`: it declares nothing. `http`: it declares to be HTTP, which what it looks like is not. */
  readonly declares: 'sniff' | 'http'
}

/** Ports of a namespace's Services, as far as they are guessed; and how many declare nothing and look like nothing. */
export interface PortsLook {
  readonly hints: readonly PortHint[]
  readonly undeclared: number
}

/** Looks at the Services that pods of the plan stand behind. */
export function lookAtPorts(world: AnalysisWorld, namespace: string, pods: readonly ScenePod[]): PortsLook {
  const hints: PortHint[] = []
  let undeclared = 0
  for (const known of world.services.filter(({ service }) => service.namespace === namespace)) {
    const behind = behindOf(known, pods)
    if (behind.length === 0) continue
    known.service.ports.forEach(({ port, name, protocol }, index) => {
      if (protocol === 'opaque') return
      const target = known.places[index]?.target ?? null
      // a port that declares HTTP is believed before its number; an image that is a database's is not
      const seen = { name: protocol === 'http' ? '' : name, numbers: protocol === 'http' ? [] : [port, target ?? port] }
      const guess = guessOf({ ...seen, images: imagesAt(behind, target) })
      if (guess !== null) hints.push({ service: known.service.name, port, declares: protocol, ...guess })
      else if (protocol === 'sniff') undeclared++
    })
  }
  return { hints, undeclared }
}

/** Pods that a Service selects. */
export function behindOf({ selector }: KnownService, pods: readonly ScenePod[]): readonly ScenePod[] {
  return selector === null ? [] : pods.filter(({ labels }) => carries(labels, selector))
}

/** What stands behind a port: of containers that declare it; where none does and there is one container, of that. */
function imagesAt(pods: readonly ScenePod[], target: number | null): readonly string[] {
  return pods.flatMap(({ containers }) => {
    const declaring = containers.filter(({ ports }) => target !== null && ports.includes(target))
    const meant = declaring.length > 0 ? declaring : containers.length === 1 ? containers : []
    return meant.map(({ image }) => image)
  })
}

/** By its name, else its numbers, else its images; null: it looks like nothing that is known. */
export function guessOf(port: {
  readonly name: string
  readonly numbers: readonly number[]
  readonly images: readonly string[]
}): Guess | null {
  const prefix = port.name.toLowerCase().split('-', 1)[0] ?? ''
  const byName = CUSTOMS.find(({ name, alias = [] }) => name === prefix || alias.includes(prefix))
  if (byName !== undefined) return guess(byName, `name ${port.name}`)
  for (const number of port.numbers) {
    const byNumber = CUSTOMS.find(({ ports }) => ports.includes(number))
    if (byNumber !== undefined) return guess(byNumber, `port ${number}`)
  }
  for (const image of port.images.map(baseName)) {
    const byImage = CUSTOMS.find(({ images }) => images.includes(image))
    if (byImage !== undefined) return guess(byImage, `image ${image}`)
  }
  return null
}

const guess = ({ name, speaks }: Custom, by: string): Guess => ({ protocol: name, speaks, by })

/** `registry:5000/library/mysql:8.4@sha256:…` is `mysql`. */
function baseName(image: string): string {
  const [unpinned = ''] = image.split('@', 1)
  return (unpinned.split('/').at(-1) ?? '').split(':', 1)[0]?.toLowerCase() ?? ''
}
