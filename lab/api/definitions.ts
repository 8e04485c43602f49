// Loads CustomResourceDefinitions from YAML text into a store: the mesh kinds of istio-crds.yaml at start.
import { parseAllDocuments } from 'yaml'
import { isRecord } from './object.ts'
import type { ObjectDraft } from './object.ts'
import type { Store } from './store.ts'

/** Creates each definition of a multi-document YAML text. Throws on YAML errors, and ApiError on a refused one. */
export function loadDefinitions(store: Store, yaml: string): void {
  for (const document of parseAllDocuments(yaml)) {
    if ('errors' in document && document.errors.length > 0) throw document.errors[0]!
    const definition: unknown = document.toJS()
    if (isRecord(definition)) store.create('customresourcedefinitions.apiextensions.k8s.io', definition as ObjectDraft)
  }
}
