// A CustomResourceDefinition, read: the resource type that it makes the server serve. Pure.
// Source: apiextensions.k8s.io/v1 CustomResourceDefinitionSpec.
import { resourceKey } from './status.ts'
import type { KubeObject } from './object.ts'
import type { ResourceType } from './resources.ts'

/** The types a definition makes: one, or none when no version of it is served. */
export function typesOfDefinition({ spec }: KubeObject): ResourceType[] {
  const versions: Record<string, any>[] = spec.versions.filter((version: { served?: boolean }) => version.served)
  if (versions.length === 0) return []
  const { names, group } = spec
  return [
    {
      key: resourceKey(names.plural, group),
      group,
      versions: versions.sort(byPriority).map((version) => ({
        name: version['name'],
        columns: version['additionalPrinterColumns'] ?? [],
        schema: version['schema']?.openAPIV3Schema,
      })),
      storageVersion: spec.versions.find((version: { storage?: boolean }) => version.storage).name,
      kind: names.kind,
      listKind: names.listKind ?? `${names.kind}List`,
      plural: names.plural,
      singular: names.singular ?? names.kind.toLowerCase(),
      shortNames: names.shortNames ?? [],
      categories: names.categories ?? [],
      namespaced: spec.scope === 'Namespaced',
      status: versions.some((version) => version['subresources']?.status !== undefined),
      scale: false,
      generation: true,
      custom: true,
    },
  ]
}

/** Kubernetes' version priority: v2 before v1 before v1beta1 before v1alpha3, other names last. */
export function byPriority(left: { name?: string }, right: { name?: string }): number {
  const a = rankOf(left.name ?? '')
  const b = rankOf(right.name ?? '')
  for (const [at, rank] of a.entries()) if (rank !== b[at]) return b[at]! - rank
  return (left.name ?? '') < (right.name ?? '') ? -1 : 1
}

function rankOf(name: string): [number, number, number] {
  const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(name)
  if (!match) return [0, 0, 0]
  const stability = match[2] === undefined ? 3 : match[2] === 'beta' ? 2 : 1
  return [stability, Number(match[1]), Number(match[3] ?? 0)]
}
