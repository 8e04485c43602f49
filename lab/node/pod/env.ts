// A container's command line and environment, computed as the kubelet does. Pure: ConfigMaps and Secrets come as values.
import type { V1Container, V1EnvVar, V1Pod } from '@kubernetes/client-node'

/** String values of a ConfigMap or a Secret (already decoded); undefined where the object does not exist. */
export type Values = Readonly<Record<string, string>>
export type FindValues = (kind: 'ConfigMap' | 'Secret', name: string) => Values | undefined

/** A container that cannot be configured; `message` says what is missing, as in CreateContainerConfigError. */
export class ConfigError extends Error {}

/** Names of the ConfigMaps and Secrets that a container's environment refers to. */
export function namedSources(container: V1Container): { kind: 'ConfigMap' | 'Secret'; name: string }[] {
  const found: { kind: 'ConfigMap' | 'Secret'; name: string | undefined }[] = []
  for (const { configMapRef, secretRef } of container.envFrom ?? []) {
    if (configMapRef) found.push({ kind: 'ConfigMap', name: configMapRef.name })
    if (secretRef) found.push({ kind: 'Secret', name: secretRef.name })
  }
  for (const { valueFrom } of container.env ?? []) {
    if (valueFrom?.configMapKeyRef) found.push({ kind: 'ConfigMap', name: valueFrom.configMapKeyRef.name })
    if (valueFrom?.secretKeyRef) found.push({ kind: 'Secret', name: valueFrom.secretKeyRef.name })
  }
  return found.filter((source): source is { kind: 'ConfigMap' | 'Secret'; name: string } => source.name !== undefined)
}

/**
 * The environment of a container: `base` (service links and the like), then envFrom, then env, later ones winning.
 * Throws ConfigError where a ConfigMap, Secret or key is missing and not optional.
 */
export function environmentOf(
  container: V1Container,
  pod: V1Pod,
  base: Values,
  find: FindValues,
): Record<string, string> {
  const env: Record<string, string> = { ...base }
  for (const source of container.envFrom ?? []) {
    const ref = source.configMapRef ?? source.secretRef
    if (!ref?.name) continue
    const kind = source.configMapRef ? 'ConfigMap' : 'Secret'
    const values = find(kind, ref.name)
    if (values === undefined && !ref.optional) throw new ConfigError(`${kind.toLowerCase()} "${ref.name}" not found`)
    for (const [key, value] of Object.entries(values ?? {})) env[`${source.prefix ?? ''}${key}`] = value
  }
  for (const variable of container.env ?? []) {
    const value = valueOf(variable, pod, container, find)
    if (value !== undefined) env[variable.name] = variable.valueFrom ? value : expand(value, env)
  }
  return env
}

function valueOf(variable: V1EnvVar, pod: V1Pod, container: V1Container, find: FindValues): string | undefined {
  const from = variable.valueFrom
  if (!from) return variable.value ?? ''
  if (from.fieldRef) return fieldOf(pod, from.fieldRef.fieldPath)
  if (from.resourceFieldRef) return resourceOf(container, from.resourceFieldRef.resource)
  const ref = from.configMapKeyRef ?? from.secretKeyRef
  if (!ref)
    throw new ConfigError(`environment variable ${variable.name}: this kind of valueFrom is not supported in the lab`)
  const kind = from.configMapKeyRef ? 'ConfigMap' : 'Secret'
  const value = find(kind, ref.name ?? '')?.[ref.key]
  if (value === undefined && !ref.optional) {
    throw new ConfigError(`couldn't find key ${ref.key} in ${kind} ${pod.metadata?.namespace ?? ''}/${ref.name ?? ''}`)
  }
  return value
}

/** A field of the pod by its downward API path. Throws ConfigError for a path that the downward API does not have. */
export function fieldOf(pod: V1Pod, path: string): string {
  const keyed = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(path)
  if (keyed) return (keyed[1] === 'labels' ? pod.metadata?.labels : pod.metadata?.annotations)?.[keyed[2] ?? ''] ?? ''
  const listOf = (values: Record<string, string> | undefined): string =>
    Object.entries(values ?? {})
      .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
      .join('\n')
  const fields: Record<string, () => string | undefined> = {
    'metadata.name': () => pod.metadata?.name,
    'metadata.namespace': () => pod.metadata?.namespace,
    'metadata.uid': () => pod.metadata?.uid,
    'metadata.labels': () => listOf(pod.metadata?.labels),
    'metadata.annotations': () => listOf(pod.metadata?.annotations),
    'spec.nodeName': () => pod.spec?.nodeName,
    'spec.serviceAccountName': () => pod.spec?.serviceAccountName ?? 'default',
    'status.podIP': () => pod.status?.podIP,
    'status.podIPs': () => pod.status?.podIPs?.map((each) => each.ip).join(','),
    'status.hostIP': () => pod.status?.hostIP,
    'status.hostIPs': () => pod.status?.hostIP,
  }
  const field = Object.hasOwn(fields, path) ? fields[path] : undefined
  if (!field) throw new ConfigError(`unsupported field path "${path}"`)
  return field() ?? ''
}

function resourceOf(container: V1Container, path: string): string {
  const [group, name] = path.split('.')
  const table = group === 'limits' ? container.resources?.limits : container.resources?.requests
  return table?.[name ?? ''] ?? '0'
}

/** Replaces $(NAME) by its value where it has one; `$$(NAME)` is a literal `$(NAME)`. */
export function expand(text: string, env: Values): string {
  return text.replace(/\$(\$|\(([^()]*)\))/g, (whole, mark: string, name: string | undefined) => {
    if (mark === '$') return '$'
    return name !== undefined && Object.hasOwn(env, name) ? (env[name] ?? whole) : whole
  })
}

export interface Entrypoint {
  readonly command: readonly string[]
  readonly args: readonly string[]
}

/** The process a container runs, by the rules for command, args, ENTRYPOINT and CMD; empty when there is nothing to run. */
export function commandLine(container: V1Container, image: Entrypoint | null, env: Values): string[] {
  const own = container.command ?? []
  const entry = own.length > 0 ? own : (image?.command ?? [])
  const rest = container.args ?? (own.length > 0 ? [] : (image?.args ?? []))
  return [...entry, ...rest].map((word) => expand(word, env))
}
