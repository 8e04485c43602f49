// Kubernetes objects for tests, as they come off the wire: what is not said is what any object has.

import type { KubeObject, Metadata } from './object.ts'

export type ObjectWish = Partial<Metadata> & { readonly name: string }

/** An object of namespace `default`; its uid follows from its name, so that the same name is the same object. */
export function object<T extends KubeObject>(wish: ObjectWish, rest: Omit<T, 'metadata'> | object = {}): T {
  const { name, namespace = 'default' } = wish
  const metadata: Metadata = { uid: `uid-${namespace}-${name}`, namespace, resourceVersion: '1', ...wish }
  return { ...rest, metadata } as T
}

/** An object of one of Istio's kinds, of the newest version. */
export function istio(
  kind: 'VirtualService' | 'DestinationRule' | 'PeerAuthentication' | 'AuthorizationPolicy' | 'RequestAuthentication',
  spec: unknown,
  wish: Partial<Metadata> = {},
): KubeObject {
  const metadata = { name: 'reviews', creationTimestamp: '2026-01-02T03:04:05Z', ...wish }
  const group = /Policy$|Authentication$/.test(kind) ? 'security.istio.io' : 'networking.istio.io'
  return object(metadata, { apiVersion: `${group}/v1`, kind, spec })
}
