// Where the kubelet dials a pod: its probes and lifecycle hooks, as its spec declares them.

import { canonicalIp } from '../model/address.ts'
import { parsePort } from '../model/terms.ts'
import type { Container, KubePort, Pod, Probe } from './object.ts'

/** TCP ports that the kubelet dials at the pod's own address, in the spec's order; some perhaps twice. */
export function probePortsOf(pod: Pod): number[] {
  const { containers = [], initContainers = [] } = pod.spec ?? {}
  // of the init containers only those that stay (native sidecars) are probed
  const running = [...containers, ...initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always')]
  const own = (pod.status?.podIPs ?? []).flatMap(({ ip }) => canonicalIp(ip) ?? [])
  return running.flatMap((container) =>
    dialsOf(container)
      .flatMap((dial) => portsOf(dial, own))
      .flatMap((port) => portNumber(port, container)),
  )
}

function dialsOf({ livenessProbe, readinessProbe, startupProbe, lifecycle }: Container): Probe[] {
  const dials = [livenessProbe, readinessProbe, startupProbe, lifecycle?.postStart, lifecycle?.preStop]
  return dials.filter((dial) => dial !== undefined && dial !== null)
}

/** A probe that names another host is not to the pod. `own` are the pod's addresses. */
function portsOf({ httpGet, tcpSocket, grpc }: Probe, own: readonly string[]): KubePort[] {
  const isOwn = (host = ''): boolean => host === '' || own.includes(canonicalIp(host) ?? host)
  const ports = [httpGet, tcpSocket].flatMap((dial) => (dial && isOwn(dial.host) ? [dial.port] : []))
  return grpc ? [...ports, grpc.port] : ports
}

/** As the kubelet resolves it: a name among the container's own ports, else the number that the text is. */
function portNumber(port: KubePort, { ports = [] }: Container): number[] {
  const number = ports.find(({ name }) => name === port)?.containerPort ?? parsePort(String(port))
  return number === null ? [] : [number]
}
