// What Weft knows of the cluster while it is measured: many services of ten pods each, over the one that is asked the
// policies that users have over theirs, and one that takes whole flows.

import type { SocketAddress } from '../../agent/model/address.ts'
import type { Inventory } from '../../agent/model/snapshot.ts'
import type { Workload } from '../../agent/model/workload.ts'
import { match, to, world } from '../../agent/model/world.fixture.ts'

const PODS = 10

/** Where the pods behind the dialled service have their addresses; their sockets are at the same place of 127.0.0.0/24. */
export const PODS_NETWORK = '10.244.200.'
const UPSTREAMS = [2, 3, 4, 5].map((last) => `${PODS_NETWORK}${last}`)
/** A pod has one address: the one that takes flows shares none with the others. */
const SINK = `${PODS_NETWORK}6`
/** Address of the pod that dials. */
export const CALLER = '127.0.0.1'
/** What it dials: the first two services of a world. */
export const DIALLED: SocketAddress = { ip: '10.96.0.1', port: 80 }
export const DIALLED_RAW: SocketAddress = { ip: '10.96.0.2', port: 5201 }

/** Who is who, by certificate. */
export const IDENTITIES = {
  caller: 'spiffe://cluster.local/ns/default/sa/load',
  callee: 'spiffe://cluster.local/ns/default/sa/web',
} as const

/** The ports that the pods listen at: of the service that is asked, and of the one that takes flows. */
export interface Behind {
  readonly upstream: number
  readonly sink: number
}

/** A pod behind the dialled services, and where it listens. */
export interface Callee {
  readonly pod: Workload
  readonly port: number
}

export interface Cluster {
  readonly inventory: Inventory
  readonly caller: Workload
  readonly callees: readonly Callee[]
}

/** A cluster of so many services. `secured`: the pods that are dialled are another node's, and reached by the mesh's TLS. */
export function cluster({ upstream, sink }: Behind, services: number, secured = false): Cluster {
  const there = { serviceAccount: 'web', captured: secured ? 'weft-agent-there' : null, node: 'node-2' }
  const built = world()
    .service('web', { ports: [{ port: 80, name: 'http', protocol: 'http', targetPort: upstream }] })
    .service('sink', { ports: [{ port: 5201, name: 'tcp', protocol: 'opaque', targetPort: sink }] })
    .pods('sink-v1', { ...there, ips: [SINK] })
  for (let index = 1; index <= services - 2; index++) {
    built.service(`other${index}`).pods(`other${index}`, { count: PODS })
  }
  const webs = UPSTREAMS.map((ip, index) => {
    built.pods(`web-v1-${index}`, { ...there, ips: [ip], owner: 'web-v1' })
    return built.pod(`web-v1-${index}-1`)
  })
  built.pods('load', { serviceAccount: 'load', ips: [CALLER], behind: [] })
  built.destinationRule({ host: 'web', subsets: [{ name: 'v1' }, { name: 'v2' }] })
  built.virtualService({
    hosts: ['web'],
    http: [
      { matches: [match({ uri: { kind: 'prefix', value: '/admin/' } })], destinations: [to('other1')] },
      { matches: [match({ uri: { kind: 'regex', value: '/v[0-9]+/.*' } })], destinations: [to('other2')] },
      {
        matches: [match({ headers: [{ name: 'end-user', match: { kind: 'exact', value: 'jason' } }] })],
        destinations: [to('web', { subset: 'v2' })],
      },
      { name: 'plain', destinations: [to('web', { subset: 'v1' })], timeoutMs: 15_000 },
    ],
  })
  const callees = [...webs.map((pod) => ({ pod, port: upstream })), { pod: built.pod('sink-v1-1'), port: sink }]
  return { inventory: built.inventory(), caller: built.pod('load-1'), callees }
}
