import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { matches, selectorOf } from '../../api/selector.ts'
import { createStore } from '../../api/store.ts'
import type { Service, Stored } from './kinds.ts'
import { SelectorIndex, View } from './view.ts'

const labels = fc.dictionary(fc.constantFrom('app', 'version', 'tier'), fc.constantFrom('a', 'b', 'c'))
const place = fc.tuple(fc.constantFrom('default', 'kube-system'), fc.constantFrom('x', 'y', 'z'))
const write = fc.record({ place, labels, gone: fc.boolean() })

test('a view selects what a scan of the store selects, after any writes', () => {
  fc.assert(
    fc.property(fc.array(write, { maxLength: 20 }), labels, (writes, matchLabels) => {
      const store = createStore()
      const view = new View<Stored>(store, 'configmaps')
      for (const { place, labels, gone } of writes) {
        const [namespace, name] = place
        if (gone) store.delete('configmaps', namespace, name)
        else if (!store.modify('configmaps', namespace, name, ({ metadata }) => (metadata.labels = { ...labels }))) {
          store.create('configmaps', { metadata: { namespace, name, labels } })
        }
      }
      const found = view.selected('default', { matchLabels }).map(({ metadata }) => metadata.name)
      const scanned = store.list('configmaps', { namespace: 'default', labels: selectorOf({ matchLabels }) })
      assert.deepEqual(
        found.sort(),
        scanned.map(({ metadata }) => metadata.name),
      )
    }),
  )
})

test('a selector index finds every selector that takes an object, and no other', () => {
  fc.assert(
    fc.property(fc.array(labels, { maxLength: 6 }), labels, (selectors, own) => {
      const store = createStore()
      const view = new View<Service>(store, 'services')
      const index = new SelectorIndex(view, ({ spec }) => (spec.selector ? { matchLabels: spec.selector } : null))
      for (const [at, selector] of selectors.entries()) {
        store.create('services', {
          metadata: { name: `s${at}`, namespace: 'default' },
          spec: { selector, ports: [{ port: 80 }] },
        })
      }
      const pod = store.create('pods', {
        metadata: { name: 'p', namespace: 'default', labels: own },
        spec: { containers: [{ name: 'c', image: 'i' }] },
      })
      const expected = selectors.flatMap((selector, at) =>
        matches(selectorOf({ matchLabels: selector }), own) ? [`s${at}`] : [],
      )
      assert.deepEqual(
        index
          .taking(pod)
          .map(({ metadata }) => metadata.name)
          .sort(),
        expected.sort(),
      )
    }),
  )
})
