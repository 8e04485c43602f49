// What every namespace has from the start: the service account `default`.
import { isDeleting } from '../world/kinds.ts'
import type { World } from '../world/world.ts'

const ACCOUNT = 'default'

export function startAccounts(world: World): void {
  const queue = world.queue('serviceaccount', reconcile)
  const accounts = world.view('serviceaccounts')
  world.namespaces.onChange((now) => now && queue.add(now.metadata.name))
  accounts.onChange((now, before) => {
    if (!now && before?.metadata.name === ACCOUNT) queue.add(before.metadata.namespace ?? '')
  })

  function reconcile(name: string): undefined {
    const namespace = world.namespaces.get('', name)
    if (!namespace || isDeleting(namespace) || accounts.get(name, ACCOUNT)) return
    world.store.create('serviceaccounts', { metadata: { name: ACCOUNT, namespace: name } })
  }
}
