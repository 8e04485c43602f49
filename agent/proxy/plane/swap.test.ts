import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nothing } from '../../model/build.ts'
import { between, type Piece, pieces, wholeOf } from '../../model/delta.ts'
import { world } from '../../model/world.fixture.ts'
import { Swap } from './swap.ts'

const cut = (delta: Parameters<typeof pieces>[0]): [Piece, ...Piece[]] => [...pieces(delta)] as [Piece, ...Piece[]]

function large() {
  const mesh = world()
  for (let index = 0; index < 40; index++) mesh.service(`s${index}`).pods(`s${index}-v1`, { count: 5 })
  return mesh
}

test('the snapshot is swapped once, with the last piece', async () => {
  const node = { snapshot: nothing() }
  const swap = new Swap(node, () => assert.fail())
  const [first, ...rest] = cut(wholeOf(large().inventory(4)))
  assert.ok(rest.length > 2)
  assert.equal(await swap.take(first), 'next')
  for (const piece of rest) {
    assert.equal(node.snapshot.version, 0)
    assert.equal(await swap.take(piece), piece.last ? 'applied' : 'next')
  }
  assert.deepEqual([node.snapshot.version, node.snapshot.serviceByHost.size], [4, 40])
})

test('what cannot be built is told, the snapshot before stays, and the next one can be', async () => {
  const mesh = world().service('reviews')
  const before = mesh.inventory(1)
  const node = { snapshot: mesh.snapshot(1) }
  const kept = node.snapshot
  const swap = new Swap(node, () => assert.fail())
  const [sound] = cut(between(before, mesh.service('more').inventory(2)))
  const broken = { ...sound, services: { set: [{ host: 'x', ports: null } as never], gone: [] } }
  const outcome = await swap.take(broken)
  assert.ok(typeof outcome === 'object' && outcome.rejected.includes('TypeError'))
  assert.equal(node.snapshot, kept)
  assert.equal(await swap.take(sound), 'applied')
  assert.equal(node.snapshot.serviceByHost.size, 2)
})

test('a change of another version than is in force is refused', async () => {
  const mesh = world().service('reviews')
  const node = { snapshot: mesh.snapshot(1) }
  const [piece] = cut(between(mesh.inventory(2), mesh.inventory(3)))
  const outcome = await new Swap(node, () => {}).take(piece)
  assert.ok(typeof outcome === 'object')
  assert.equal(node.snapshot.version, 1)
})
