// Admission of writes, as the store goes through it: what is added to pods, who manages fields, what policies say.
// Source: Kubernetes documentation "Admission Control in Kubernetes".
import { entriesAfterUpdate } from '../apply/managed.ts'
import { shapeOf } from '../apply/shape.ts'
import { nameSuffix } from '../admit/prepare.ts'
import { timestamp } from '../object.ts'
import { CONTROL_PLANE } from './attributes.ts'
import { admitPod } from './pods.ts'
import { Policies } from './policies.ts'
import type { KubeObject, ObjectDraft } from '../object.ts'
import type { ResourceType } from '../resources.ts'
import type { Store, UpdateOptions } from '../store.ts'

/** One write: the object it leaves and the one it finds. */
export interface Written {
  readonly object: KubeObject | null
  readonly oldObject: KubeObject | null
  /** The apiVersion that the writer spoke; left out: the one that is stored. */
  readonly version?: string | undefined
}

export class Admission {
  readonly policies: Policies
  readonly #store: Store
  readonly #now: () => Date

  constructor(store: Store, { now, uid }: { readonly now: () => Date; readonly uid: () => string }) {
    this.#store = store
    this.#now = now
    this.policies = new Policies({
      list: (resource) => store.list(resource),
      get: (resource, namespace, name) => store.get(resource, namespace, name),
      uid,
    })
  }

  /** The draft of a new object with what admission adds to it. Throws 403. */
  mutate({ key }: ResourceType, draft: ObjectDraft): ObjectDraft {
    if (key !== 'pods') return draft
    return admitPod(draft, {
      get: (resource, namespace, name) => this.#store.get(resource, namespace, name),
      list: (resource) => this.#store.list(resource),
      suffix: nameSuffix,
    })
  }

  /** Sets who manages which field of an object that replaces another, where that is followed. */
  manage(type: ResourceType, written: Written, draft: ObjectDraft, options: UpdateOptions): void {
    const { object, oldObject } = written
    if (!object || !oldObject) return
    const { writer = CONTROL_PLANE, subresource } = options
    const version = versionOf(type, written)
    const time = timestamp(this.#now())
    const { apiVersion } = object
    const manager = { manager: writer.manager, apiVersion, subresource, time }
    const sent: unknown = draft.metadata.managedFields
    const entries =
      options.managedFields ??
      (oldObject.metadata.managedFields || sent
        ? entriesAfterUpdate(sent, [oldObject, object], manager, shapeOf(type, version))
        : undefined)
    if (entries !== undefined) object.metadata.managedFields = entries
  }

  /** Throws what a policy has against the write. */
  validate(type: ResourceType, written: Written, options: UpdateOptions): void {
    if (options.isAdmitted) return
    const { object, oldObject } = written
    const { metadata } = (object ?? oldObject)!
    this.policies.admit({
      operation: object === null ? 'DELETE' : oldObject === null ? 'CREATE' : 'UPDATE',
      type,
      version: versionOf(type, written),
      subresource: options.subresource,
      // a write of a namespace is one inside it
      namespace: type.key === 'namespaces' ? metadata.name : metadata.namespace,
      name: metadata.name,
      object,
      oldObject,
      writer: options.writer ?? CONTROL_PLANE,
      dryRun: options.dryRun === true,
    })
  }
}

function versionOf({ storageVersion }: ResourceType, { version }: Written): string {
  return version?.split('/').at(-1) || storageVersion
}
