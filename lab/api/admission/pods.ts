// What admission adds to a new pod, or refuses it for: its service account's token and its priority. Pure.
// Source: Kubernetes documentation "Managing Service Accounts: ServiceAccount admission controller", "Pod Priority and Preemption".
import { copyOf, isRecord } from '../object.ts'
import { forbidden } from '../status.ts'
import type { KubeObject, ObjectDraft } from '../object.ts'
import type { Named } from '../status.ts'

const POD: Named = { group: '', plural: 'pods', kind: 'Pod' }
const MIRROR = 'kubernetes.io/config.mirror'
const TOKEN_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount'
const TOKEN_SECONDS = 3_607
export const ROOT_CA_CONFIG_MAP = 'kube-root-ca.crt'
export const PRIORITY_CLASSES = 'priorityclasses.scheduling.k8s.io'

/** What stands in the cluster beside the pod. */
export interface Cluster {
  get(resource: string, namespace: string | null, name: string): KubeObject | undefined
  list(resource: string): readonly KubeObject[]
  /** Five letters for the name of a volume. */
  suffix(): string
}

/** The pod as it goes on. Throws 403 for an account or a class that is not there. */
export function admitPod(draft: ObjectDraft, cluster: Cluster): ObjectDraft {
  if (!isRecord(draft.spec) || !isRecord(draft.metadata)) return draft
  const pod = copyOf(draft)
  setPriority(pod, cluster)
  // a pod that only shows what runs already
  if (pod.metadata.annotations?.[MIRROR] === undefined) setAccount(pod, cluster)
  return pod
}

function nameOf({ metadata }: ObjectDraft): string {
  return metadata.name ?? metadata.generateName ?? ''
}

function setPriority(pod: ObjectDraft, cluster: Cluster): void {
  const { priorityClassName: name } = pod.spec
  const byDefault = (): KubeObject | undefined =>
    cluster.list(PRIORITY_CLASSES).find((each) => each['globalDefault'] === true)
  const chosen = name ? cluster.get(PRIORITY_CLASSES, null, String(name)) : byDefault()
  if (name && !chosen) throw forbidden(POD, nameOf(pod), `no PriorityClass with name ${name} was found`)
  // a pod without a class says nothing of priority here: there is nothing it could be compared with
  if (!chosen) return
  pod.spec.priorityClassName = chosen.metadata.name
  pod.spec.priority = chosen['value']
  pod.spec.preemptionPolicy = chosen['preemptionPolicy'] ?? 'PreemptLowerPriority'
}

function setAccount(pod: ObjectDraft, cluster: Cluster): void {
  const { spec } = pod
  const name: string = spec.serviceAccountName || spec.serviceAccount || 'default'
  const namespace = pod.metadata.namespace ?? ''
  // Nobody of the lab asks for the token of `default`, and a volume costs each container an overlay: pods of that account get
  // none, and need not wait for the account.
  if (name === 'default') return
  const account = cluster.get('serviceaccounts', namespace, name)
  if (!account) {
    const why = `error looking up service account ${namespace}/${name}: serviceaccount "${name}" not found`
    throw forbidden(POD, nameOf(pod), why)
  }
  spec.serviceAccountName = name
  const own: unknown = spec.automountServiceAccountToken ?? account['automountServiceAccountToken']
  if (own !== false) mountToken(spec, cluster)
}

function mountToken(spec: Record<string, any>, cluster: Cluster): void {
  const containers: Record<string, any>[] = [...(spec['initContainers'] ?? []), ...(spec['containers'] ?? [])].filter(
    isRecord,
  )
  const lacking = containers.filter(
    ({ volumeMounts }) =>
      !(volumeMounts ?? []).some((mount: Record<string, any>) => mount['mountPath'] === TOKEN_FOLDER),
  )
  if (lacking.length === 0) return
  const name = `kube-api-access-${cluster.suffix()}`
  for (const container of lacking) {
    container['volumeMounts'] = [
      ...(container['volumeMounts'] ?? []),
      { name, readOnly: true, mountPath: TOKEN_FOLDER },
    ]
  }
  spec['volumes'] = [...(spec['volumes'] ?? []), { name, projected: { sources: SOURCES } }]
}

const SOURCES = [
  { serviceAccountToken: { expirationSeconds: TOKEN_SECONDS, path: 'token' } },
  { configMap: { name: ROOT_CA_CONFIG_MAP, items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
  {
    downwardAPI: { items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }] },
  },
]
