import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type ConfFile, planInstalled, planRemoved } from './conflist.ts'

const ENTRY = {
  socket: '/run/weft/n/cni.sock',
  closed: '/var/lib/weft/cni/closed',
  agentNamespace: 'weft-system',
  timeoutSeconds: 15,
  heardSeconds: 5,
}
const OURS = { type: 'weft-cni', ...ENTRY }
const BRIDGE = { type: 'bridge', bridge: 'cni0' }
const file = (name: string, json: unknown): ConfFile => ({ name, text: JSON.stringify(json) })
const list = (...plugins: readonly object[]) => ({ cniVersion: '1.0.0', name: 'net', disableCheck: true, plugins })

test('the plug-in is appended to the first list, and all else in it is kept', () => {
  const files = [
    file('20-b.conflist', list(BRIDGE)),
    file('10-a.conflist', list(BRIDGE, { type: 'portmap' })),
    file('05.txt', {}),
  ]
  const { write, lack } = planInstalled(files, ENTRY)
  assert.deepEqual([write?.name, lack], ['10-a.conflist', null])
  assert.deepEqual(JSON.parse(write?.text ?? ''), list(BRIDGE, { type: 'portmap' }, OURS))
})

test('what is there already is not written again, what is another agent’s entry is renewed', () => {
  assert.deepEqual(planInstalled([file('10-a.conflist', list(BRIDGE, OURS))], ENTRY), { write: null, lack: null })
  const { write } = planInstalled([file('10-a.conflist', list({ ...OURS, socket: '/old' }, BRIDGE))], ENTRY)
  assert.deepEqual(JSON.parse(write?.text ?? ''), list(BRIDGE, OURS))
})

test('a file that is no configuration is passed over, as runtimes do', () => {
  const files = [
    file('00.conflist', list()),
    { name: '01.conf', text: '{' },
    file('02.conf', {}),
    file('10.conflist', list(BRIDGE)),
  ]
  assert.equal(planInstalled(files, ENTRY).write?.name, '10.conflist')
  assert.match(planInstalled(files.slice(0, 3), ENTRY).lack ?? '', /no CNI/)
})

test('a single configuration is kept, and a list of it comes before it', () => {
  const single = file('10-a.conf', { cniVersion: '0.3.1', name: 'net', ...BRIDGE })
  const { write } = planInstalled([single], ENTRY)
  assert.equal(write?.name, '00-weft.conflist')
  assert.deepEqual(JSON.parse(write.text), { cniVersion: '0.3.1', name: 'net', plugins: [BRIDGE, OURS] })
  assert.deepEqual(planInstalled([single, write], ENTRY), { write: null, lack: null })
  assert.equal(planInstalled([{ ...single, name: '00-a.conf' }], ENTRY).write?.name, '0-weft.conflist')
  assert.match(planInstalled([{ ...single, name: '!.conf' }], ENTRY).lack ?? '', /comes before/)
})

test('a version that hands no results on is told', () => {
  for (const cniVersion of [undefined, '0.2.0', 1]) {
    assert.match(planInstalled([file('1.conf', { cniVersion, ...BRIDGE })], ENTRY).lack ?? '', /older than 0\.3\.0/)
  }
})

test('what was installed can be removed, and then all is as before', () => {
  const plugin = fc.record({ type: fc.constantFrom('bridge', 'portmap', 'x'), more: fc.jsonValue() })
  const name = fc.constantFrom('10-a', '00-a', 'z')
  fc.assert(
    fc.property(name, fc.array(plugin, { minLength: 1, maxLength: 4 }), fc.boolean(), (base, plugins, isSingle) => {
      const before = isSingle
        ? file(`${base}.conf`, { cniVersion: '0.4.0', ...plugins[0] })
        : file(`${base}.conflist`, list(...plugins))
      const { write } = planInstalled([before], ENTRY)
      assert.ok(write)
      const there = [...(write.name === before.name ? [] : [before]), write]
      const { write: back, remove } = planRemoved(there)
      const after = [
        ...there.filter(({ name }) => !remove.includes(name) && !back.some((each) => each.name === name)),
        ...back,
      ]
      assert.deepEqual(
        after.map(({ name, text }) => [name, JSON.parse(text)]),
        [[before.name, JSON.parse(before.text)]],
      )
    }),
  )
})
