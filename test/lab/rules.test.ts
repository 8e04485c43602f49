// The rules of the kube-proxy stand-in are rules to nft, whatever services there are.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import type { Frontend } from '../../lab/node/balance.ts'
import { nftRules } from '../../lab/node/rules.ts'
import { mustRun } from '../../lab/node/run.ts'

const NETNS = `weft-test-rules-${String(process.pid)}`
before(() => mustRun('ip', ['netns', 'add', NETNS]))
after(() => mustRun('ip', ['netns', 'del', NETNS]))

const octet = fc.integer({ min: 1, max: 254 })
const port = fc.integer({ min: 1, max: 65_535 })
const backend = fc.record({ address: octet.map((last) => `10.244.1.${String(last)}`), port })
const frontend: fc.Arbitrary<Frontend> = fc.record({
  namespace: fc.constantFrom('default', 'shop'),
  service: fc.stringMatching(/^[a-z][a-z0-9-]{0,62}$/),
  portName: fc.constant(''),
  protocol: fc.constantFrom('tcp', 'udp'),
  port,
  addresses: fc.array(
    octet.map((last) => `10.96.0.${String(last)}`),
    { minLength: 1, maxLength: 3 },
  ),
  nodePort: fc.option(fc.integer({ min: 30_000, max: 32_767 })),
  sticky: fc.boolean(),
  backends: fc.uniqueArray(backend, { maxLength: 5, selector: (each) => `${each.address}:${String(each.port)}` }),
})
const identity = (each: Frontend): string => `${each.namespace}/${each.service}/${each.protocol}/${String(each.port)}`

test('any services make a rule set that nft takes, over any that was there before', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(frontend, { maxLength: 12, selector: identity }), async (frontends) => {
      await mustRun('nsenter', [`--net=/run/netns/${NETNS}`, 'nft', '-f', '-'], nftRules(frontends))
    }),
    { numRuns: 60 },
  )
  await mustRun('nsenter', [`--net=/run/netns/${NETNS}`, 'nft', '-f', '-'], nftRules([]))
  const left = await mustRun('nsenter', [`--net=/run/netns/${NETNS}`, 'nft', 'list', 'ruleset'])
  assert.doesNotMatch(left, /svc-|ep-/)
})
