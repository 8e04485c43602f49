import assert from 'node:assert/strict'
import test from 'node:test'
import { newestOfEachLine } from './packages.ts'

test('of each line the newest kernel is chosen, as numbers go', () => {
  const names = [
    'linux-image-6.12.117+deb12-cloud-amd64',
    'linux-image-6.12.9+deb12-cloud-amd64',
    'linux-image-6.1.0-56-cloud-amd64-dbg',
    'linux-image-6.1.0-9-cloud-amd64',
    'linux-image-6.1.0-56-cloud-amd64',
    'linux-image-6.1.0-57-cloud-amd64-unsigned',
    'linux-image-6.12-cloud-amd64',
    '',
  ]
  assert.deepEqual(newestOfEachLine(names), [
    'linux-image-6.1.0-56-cloud-amd64',
    'linux-image-6.12.117+deb12-cloud-amd64',
  ])
})
