// What a container may do, from the security contexts of pod and container, as words ahead of its command. Pure.
// Source: Kubernetes documentation "Configure a Security Context for a Pod or Container"; setpriv(1); capabilities(7).
import type { V1Pod, V1Container } from '@kubernetes/client-node'
import { ConfigError } from './env.ts'

/** What a container runtime gives a container that asks for nothing (containerd's and CRI-O's usual set). */
export const RUNTIME_DEFAULTS: readonly string[] = [
  ...['AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'MKNOD', 'NET_BIND_SERVICE', 'NET_RAW'],
  ...['SETFCAP', 'SETGID', 'SETPCAP', 'SETUID', 'SYS_CHROOT'],
]

export interface Security {
  /** setpriv(1) and its options; empty where the container runs as the lab's own programs do. */
  readonly words: readonly string[]
  readonly readOnlyRoot: boolean
  /** The user id that its first process has. */
  readonly user: number
}

/**
 * The rights of a container. One without any security context keeps all that root has. Stand-ins for images run as root, so
 * that runAsNonRoot needs a runAsUser. Throws ConfigError where the context forbids what it asks for, or asks for what is not.
 */
export function securityOf(pod: V1Pod, container: V1Container): Security {
  const podWide = pod.spec?.securityContext ?? {}
  const own = container.securityContext ?? {}
  const user = own.runAsUser ?? podWide.runAsUser ?? 0
  const group = own.runAsGroup ?? podWide.runAsGroup ?? 0
  if ((own.runAsNonRoot ?? podWide.runAsNonRoot) === true && user === 0) throw rootRefused(pod, container)
  const readOnlyRoot = own.readOnlyRootFilesystem === true
  if (Object.keys({ ...podWide, ...own }).length === 0) return { words: [], readOnlyRoot, user }
  const options = [
    ...(own.allowPrivilegeEscalation === false ? ['--no-new-privs'] : []),
    ...(own.privileged === true ? [] : ['--inh-caps=-all', `--bounding-set=${boundingSet(own.capabilities ?? {})}`]),
    ...userWords({ user, group, others: [...(podWide.supplementalGroups ?? []), ...fsGroupOf(podWide)] }),
  ]
  return { words: options.length === 0 ? [] : ['setpriv', ...options, '--'], readOnlyRoot, user }
}

const fsGroupOf = ({ fsGroup }: { readonly fsGroup?: number }): number[] => (fsGroup === undefined ? [] : [fsGroup])

function rootRefused(pod: V1Pod, container: V1Container): ConfigError {
  const asked = container.securityContext?.runAsUser ?? pod.spec?.securityContext?.runAsUser
  const why =
    asked === 0
      ? "container's runAsUser breaks non-root policy"
      : 'container has runAsNonRoot and image will run as root'
  return new ConfigError(
    `${why} (pod: "${pod.metadata?.namespace ?? ''}/${pod.metadata?.name ?? ''}", container: ${container.name})`,
  )
}

interface Identity {
  readonly user: number
  readonly group: number
  readonly others: readonly number[]
}

function userWords({ user, group, others }: Identity): string[] {
  if (user === 0 && group === 0 && others.length === 0) return []
  const groups = others.length === 0 ? '--clear-groups' : `--groups=${others.join(',')}`
  return [`--reuid=${String(user)}`, `--regid=${String(group)}`, groups]
}

/** The value of setpriv's --bounding-set: the runtime's usual set, less what is dropped, and what is added. ALL is all. */
function boundingSet(wish: { readonly add?: readonly string[]; readonly drop?: readonly string[] }): string {
  const [add, drop] = [namesOf(wish.add), namesOf(wish.drop)]
  if (add.includes('ALL'))
    return ['+all', ...drop.filter((name) => name !== 'ALL').map((name) => `-${lower(name)}`)].join()
  const base = drop.includes('ALL') ? [] : RUNTIME_DEFAULTS.filter((name) => !drop.includes(name))
  return ['-all', ...new Set([...base, ...add].map((name) => `+${lower(name)}`))].join()
}

const lower = (name: string): string => name.toLowerCase()

/** Kubernetes writes capabilities without CAP_; runtimes take them with it too. Throws ConfigError for what is none. */
export function namesOf(names: readonly string[] | undefined): string[] {
  return (names ?? []).map((name) => {
    const plain = name.toUpperCase().replace(/^CAP_/, '')
    if (!/^[A-Z_]+$/.test(plain)) throw new ConfigError(`securityContext.capabilities: "${name}" is no capability`)
    return plain
  })
}
