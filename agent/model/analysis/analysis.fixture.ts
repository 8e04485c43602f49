// Worlds for tests of analyses.

import type { AnalysisWorld, KnownService } from './world.ts'
import type { World } from '../world.fixture.ts'

/** What is analysed of a mesh, as if all of a cluster had been read. */
export function seen(mesh: World, more: Partial<AnalysisWorld> = {}): AnalysisWorld {
  const { rootNamespace, services, workloads, ...policies } = mesh.inventory()
  return {
    from: 'cluster',
    clusterDomain: 'cluster.local',
    rootNamespace,
    namespaces: ['default', 'other', rootNamespace],
    services: services.map((service): KnownService => ({
      service,
      selector: service.externalName === null ? { app: service.name } : null,
      places: service.ports.map((port, index) => {
        return { field: `spec.ports[${index}]`, target: port.endpoints[0]?.address.port ?? null }
      }),
      otherPorts: [],
    })),
    pods: workloads.map(({ namespace, name, labels, joined }) => {
      return { namespace, name, labels, joined, captured: 'weft-agent-1' }
    }),
    places: new Map(),
    rejected: [],
    unhonoured: [],
    unread: [],
    ...policies,
    ...more,
  }
}

/** As if files had been read. */
export const files = (mesh: World, more: Partial<AnalysisWorld> = {}): AnalysisWorld =>
  seen(mesh, { from: 'files', namespaces: null, ...more })
