// What pods believe the API by: the ConfigMap kube-root-ca.crt of every namespace.
// Source: Kubernetes documentation "Managing Service Accounts: root CA certificate publisher".
import { isDeleting } from '../world/kinds.ts'
import type { World } from '../world/world.ts'

const NAME = 'kube-root-ca.crt'
const KEY = 'ca.crt'
const DESCRIPTION =
  'Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal ' +
  'service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.'

/** Keeps the ConfigMap there, and as it should be. `rootPem` is the authority's certificate. */
export function startRootCa(world: World, rootPem: string): void {
  const queue = world.queue('root-ca', reconcile)
  const maps = world.view('configmaps')
  world.namespaces.onChange((now) => now && queue.add(now.metadata.name))
  maps.onChange((now, before) => {
    const { name, namespace = '' } = (now ?? before)!.metadata
    if (name === NAME) queue.add(namespace)
  })

  function reconcile(namespace: string): undefined {
    const found = world.namespaces.get('', namespace)
    if (!found || isDeleting(found)) return
    if (!maps.get(namespace, NAME)) {
      const annotations = { 'kubernetes.io/description': DESCRIPTION }
      const metadata = { name: NAME, namespace, annotations }
      world.store.create('configmaps', { metadata, data: { [KEY]: rootPem } })
      return
    }
    world.store.modify('configmaps', namespace, NAME, (map) => void (map['data'] = { [KEY]: rootPem }))
  }
}
