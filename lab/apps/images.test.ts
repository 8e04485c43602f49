import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { test } from 'node:test'
import { imageName, resolveImage } from './images.ts'

test('an image is known by its name, whatever its registry, tag or digest', () => {
  for (const image of [
    'istio/examples-bookinfo-reviews-v2',
    'docker.io/istio/examples-bookinfo-reviews-v2:1.20.3',
    'index.docker.io/istio/examples-bookinfo-reviews-v2:latest',
    'registry.istio.io/release/examples-bookinfo-reviews-v2:1.20.3',
    'localhost:5000/istio/examples-bookinfo-reviews-v2@sha256:0123',
  ]) {
    assert.equal(resolveImage(image)?.env['STAR_COLOR'], 'black', image)
  }
})

test('an unknown image has no stand-in, also when its name ends alike', () => {
  assert.equal(resolveImage('nginx:1.27'), null)
  assert.equal(resolveImage('evil/my-go-httpbin'), null)
  assert.equal(resolveImage('other/not-examples-bookinfo-reviews-v2'), null)
})

test('a port in the registry is not taken for a tag', () => {
  assert.equal(imageName('registry:5000/team/app:v1'), 'team/app')
  assert.equal(imageName('team/app'), 'team/app')
  assert.equal(imageName('app:v1'), 'app')
})

test('every stand-in names programs by absolute paths that exist', () => {
  const images = [
    ...[
      'productpage-v1',
      'details-v1',
      'details-v2',
      'ratings-v1',
      'ratings-v2',
      'reviews-v1',
      'reviews-v2',
      'reviews-v3',
    ].map((name) => `docker.io/istio/examples-bookinfo-${name}:1.20.3`),
    ...[
      'docker.io/istio/examples-helloworld-v1',
      'docker.io/istio/examples-helloworld-v2',
      'docker.io/istio/tcp-echo-server:1.3',
    ],
    ...['weft', 'example.com/mesh/weft:1.2', 'localhost:5000/weft@sha256:01'],
    ...['docker.io/mccutchen/go-httpbin:v2.15.0', 'docker.io/kong/httpbin', 'kennethreitz/httpbin'],
  ]
  for (const image of images) {
    const { command = [], args = [] } = resolveImage(image) ?? {}
    const [program, file] = [...command, ...args]
    assert.equal(program, process.execPath)
    assert.ok(file && isAbsolute(file) && existsSync(file), `${image}: ${file}`)
  }
})

test('arguments stand apart from the entrypoint, so that a container may give its own', () => {
  const standIn = resolveImage('istio/tcp-echo-server')
  assert.deepEqual(standIn?.args, ['9000,9001', 'hello'])
  assert.equal(standIn?.command.length, 2)
  assert.deepEqual(resolveImage('curlimages/curl:8.16.0')?.args, ['sleep', 'infinity'])
})
