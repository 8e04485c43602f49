import assert from 'node:assert/strict'
import fc from 'fast-check'
import { test } from 'node:test'
import { render, renderLine, type Scene } from './view.ts'

const edge = { caller: 'front', callee: 'catalog', version: 'v1', requests: 80, perSecond: 16, fine: 1, medianMs: 2.25 }

const scene: Scene = {
  title: 'Weft: shop, 2 nodes',
  route: 'canary',
  edges: [edge, { ...edge, version: 'v2', perSecond: 4, fine: 0.5, medianMs: 512 }],
  answers: [
    { who: 'everyone', v1: 80, v2: 20, failed: 0 },
    { who: 'kai', v1: 0, v2: 0, failed: 0 },
  ],
  events: Array.from({ length: 40 }, (_, at) => ({ at: '12:00:00', text: `event ${at}` })),
  keys: [
    ['1', 'all v1'],
    ['q', 'quit'],
  ],
}

const plain = { columns: 80, rows: 24, color: false }

const withoutColor = (line: string): string => line.replace(/\u001b\[\d+m/g, '')

test('an edge shows rate, share of good answers and median', () => {
  const lines = render(scene, plain)
  assert.ok(
    lines.some((line) => /front +→ catalog v1 +16\.0 +100\.0 % +2\.3 ms/.test(line)),
    lines.join('\n'),
  )
  assert.ok(
    lines.some((line) => /front +→ catalog v2 +4\.0 +50\.0 % +512 ms/.test(line)),
    lines.join('\n'),
  )
})

test('the bar is as long as the shares say', () => {
  const bar = render(scene, plain).find((line) => line.includes('everyone')) ?? ''
  assert.equal(bar.match(/█/g)?.length, 27)
  assert.equal(bar.match(/▓/g)?.length, 7)
  assert.match(bar, /v1 80 %, v2 20 %$/)
})

test('80×24 is filled to the last line, with the newest events and the keys at the bottom', () => {
  const lines = render(scene, plain)
  assert.equal(lines.length, 24)
  assert.equal(lines.at(-1)?.trim(), '1 all v1  q quit')
  assert.match(lines.at(-3) ?? '', /event 39/)
})

test('no line is wider and no picture longer than the screen, whatever is in the scene', () => {
  const texts = fc.string({ unit: 'binary-ascii', maxLength: 200 })
  const counts = fc.nat({ max: 1_000_000 })
  const edges = fc.record({
    ...{ caller: texts, callee: texts, version: texts, requests: counts },
    ...{ perSecond: fc.double({ min: 0, max: 1e6, noNaN: true }), fine: fc.double({ min: 0, max: 1, noNaN: true }) },
    medianMs: fc.option(fc.double({ min: 0, max: 1e6, noNaN: true })),
  })
  const scenes = fc.record({
    title: texts,
    route: texts,
    edges: fc.array(edges, { maxLength: 30 }),
    answers: fc.array(fc.record({ who: texts, v1: counts, v2: counts, failed: counts }), { maxLength: 4 }),
    events: fc.array(fc.record({ at: texts, text: texts }), { maxLength: 60 }),
    keys: fc.array(fc.tuple(texts, texts), { maxLength: 8 }),
  })
  const screens = fc.record({
    columns: fc.integer({ min: 20, max: 200 }),
    rows: fc.integer({ min: 4, max: 60 }),
    color: fc.boolean(),
  })
  fc.assert(
    fc.property(scenes, screens, (any, screen) => {
      const lines = render(any, screen).map(withoutColor)
      assert.ok(lines.length <= screen.rows)
      for (const line of lines) {
        assert.ok([...line].length <= screen.columns)

        assert.doesNotMatch(line, /[\u0000-\u001f]/)
      }
    }),
  )
})

test('without a terminal the same figures are one line', () => {
  assert.equal(
    renderLine(scene),
    'route canary | everyone: v1 80 %, v2 20 % | kai: no answers | front→catalog v1 16.0/s | front→catalog v2 4.0/s',
  )
})
