import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type PodWords, sceneOf } from './joining.fixture.ts'
import { guessOf, lookAtPorts } from './ports.ts'
import { type PortWish, world } from '../world.fixture.ts'

const look = (port: PortWish, words: PodWords = {}) => {
  const scene = sceneOf(
    world()
      .service('web', { ports: [port] })
      .pods('web'),
    words,
  )
  const { hints, undeclared } = lookAtPorts(scene.world, 'default', scene.pods)
  return [hints.map(({ protocol, speaks, by, declares }) => [protocol, speaks, by, declares].join(', ')), undeclared]
}
const image = (name: string, ...ports: number[]): PodWords => ({ 'web-1': { containers: [{ image: name, ports }] } })

test('a port of a protocol in which the server speaks first is told by number, where pods listen, name and image', () => {
  assert.deepEqual(look({ port: 2525 }), [['smtp, server, port 2525, sniff'], 0])
  assert.deepEqual(look({ port: 80, targetPort: 3306 }), [['mysql, server, port 3306, sniff'], 0])
  assert.deepEqual(look({ port: 7000, name: 'ftp-control' }), [['ftp, server, name ftp-control, sniff'], 0])
  assert.deepEqual(look({ port: 7000 }, image('registry:5000/library/mariadb:11.4@sha256:0a')), [
    ['mysql, server, image mariadb, sniff'],
    0,
  ])
})

test('one in which the client begins is told as such', () => {
  assert.deepEqual(look({ port: 9092 }), [['kafka, client, port 9092, sniff'], 0])
})

test('what declares TCP is asked nothing, whatever it looks like', () => {
  assert.deepEqual(look({ port: 3306, protocol: 'opaque' }), [[], 0])
})

test('HTTP at a number of another protocol is believed, an image of a database is not HTTP', () => {
  assert.deepEqual(look({ port: 3306, protocol: 'http', name: 'http' }), [[], 0])
  assert.deepEqual(look({ port: 80, protocol: 'http' }, image('mysql:8')), [['mysql, server, image mysql, http'], 0])
})

test('an exporter beside a database does not make its port one', () => {
  const containers = [
    { image: 'mysql:8', ports: [3306] },
    { image: 'prom/mysqld-exporter', ports: [9104] },
  ]
  assert.deepEqual(look({ port: 9104 }, { 'web-1': { containers } }), [[], 1])
  assert.deepEqual(look({ port: 9104 }, image('prom/mysqld-exporter', 9104)), [[], 1])
})

test('a Service that no pod of the namespace stands behind is not looked at', () => {
  const scene = sceneOf(
    world()
      .service('web', { ports: [{ port: 21 }] })
      .pods('other'),
  )
  assert.deepEqual(lookAtPorts(scene.world, 'default', scene.pods), { hints: [], undeclared: 0 })
})

test('what looks like nothing known is nothing', () => {
  assert.equal(guessOf({ name: '', numbers: [8080], images: ['', 'nginx', '@', ':', '/'] }), null)
})
