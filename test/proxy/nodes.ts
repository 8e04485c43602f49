// Two nodes of one mesh in this process: a caller's, and that of what it calls. What passes between them is the mesh's TLS.

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { World } from '../../agent/model/world.fixture.ts'
import { identityOf } from '../../agent/model/identity.ts'
import { DEFAULT_MESH_SETTINGS } from '../../agent/model/mesh-settings.ts'
import { type Authority, authority, issue } from './certificates.ts'
import { type Mesh, mesh, type MeshOptions } from './mesh.ts'

export const ROOT = authority('root')

export interface Nodes {
  readonly here: Mesh
  readonly there: Mesh
}

/** Starts both: `callers` are captured here, `callees` there, each with its certificate. */
export function twoNodes(
  t: TestContext,
  of: World,
  pods: { readonly callers: readonly string[]; readonly callees: readonly string[] },
  limits: MeshOptions['limits'] = {},
): Nodes {
  const there = mesh(t, of, { captured: pods.callees, limits })
  const here = mesh(t, of, { captured: pods.callers, limits, beyond: () => there })
  for (const pod of pods.callers) identify(here, of, pod)
  for (const pod of pods.callees) identify(there, of, pod)
  return { here, there }
}

export interface Shown {
  readonly by?: Authority
  readonly roots?: readonly Authority[]
  readonly uris?: readonly string[]
  readonly notAfter?: number
}

/** Gives a node the certificate of a pod. */
export function identify(
  node: Mesh,
  of: World,
  pod: string,
  { by = ROOT, roots = [ROOT], uris, notAfter }: Shown = {},
): void {
  const uri = identityOf(of.pod(pod), DEFAULT_MESH_SETTINGS) ?? ''
  const issued = issue(by, { uris: uris ?? [uri], ...(notAfter === undefined ? {} : { notAfter }) })
  node.plane.identify({
    uri,
    ...issued,
    rootsPem: roots.map(({ certificatePem }) => certificatePem).join(''),
    ticketSecret: new Uint8Array(32).fill(7),
  })
  assert.deepEqual(node.faults, [])
}
