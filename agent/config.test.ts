import assert from 'node:assert/strict'
import { test } from 'node:test'
import yargs from 'yargs'
import { type AgentConfig, agentConfig, agentOptions, controllerConfig, listOf, workersOf } from './config.ts'
import { DEFAULT_LIMITS, limitsOf } from './proxy/plane/limits.ts'

/** What `weft agent` makes of its arguments and environment. */
function configOf(args: readonly string[], env: Record<string, string> = {}): AgentConfig {
  const parser = agentOptions(yargs([...args]))
    .strict()
    .exitProcess(false)
    .fail((message, error) => {
      throw error ?? new Error(message)
    })
  return agentConfig(parser.parseSync(), env)
}

test('a setting is its flag, else its variable, else its default', () => {
  const env = { WEFT_NODE: 'by-variable', WEFT_ADMIN_PORT: '4000', WEFT_ACCESS_LOG: 'false' }
  const byVariable = configOf([], env)
  assert.equal(byVariable.node, 'by-variable')
  assert.equal(byVariable['admin-port'], 4000)
  assert.equal(byVariable['access-log'], false)
  assert.equal(byVariable['log-level'], 'info')
  const byFlag = configOf(['--node', 'by-flag', '--admin-port', '5000', '--access-log'], env)
  assert.equal(byFlag.node, 'by-flag')
  assert.equal(byFlag['admin-port'], 5000)
  assert.equal(byFlag['access-log'], true)
  assert.equal(configOf(['--node', 'n', '--no-access-log'])['access-log'], false)
})

test('variables that Kubernetes sets for a Service of that name are nobody’s setting', () => {
  const env = { WEFT_CONTROLLER_SERVICE_HOST: '10.0.0.1', WEFT_CONTROLLER_PORT: 'tcp://10.0.0.1:443' }
  assert.equal(configOf(['--node', 'n'], env).node, 'n')
})

test('an empty variable is one that is not there', () => {
  assert.equal(configOf(['--node', 'n'], { WEFT_KUBECONFIG: '', WEFT_ADMIN_PORT: '' })['admin-port'], 15020)
})

test('what is not set of the data path’s bounds is its default, what is set arrives in its unit', () => {
  const byDefault = limitsOf(configOf(['--node', 'n']))
  assert.deepEqual({ ...DEFAULT_LIMITS, ...byDefault }, DEFAULT_LIMITS)
  const given = limitsOf(configOf(['--node', 'n', '--peer-timeout-seconds', '7', '--connect-timeout-ms', '70']))
  assert.deepEqual([given.userTimeoutMs, given.connectTimeoutMs], [7000, 70])
})

const REFUSED: readonly [string, readonly string[], Record<string, string>, RegExp][] = [
  ['no node', [], {}, /--node: .* required/],
  [
    'a port that is no number',
    ['--node', 'n'],
    { WEFT_ADMIN_PORT: 'tcp://10.0.0.1:80' },
    /admin-port: tcp:.* is not a/,
  ],
  ['a port out of its range', ['--node', 'n', '--admin-port', '70000'], {}, /--admin-port: 70000 is not/],
  ['a port with a fraction', ['--node', 'n', '--admin-port', '1.5'], {}, /--admin-port: 1.5 is not/],
  [
    'a switch that is neither true nor false',
    ['--node', 'n'],
    { WEFT_ACCESS_LOG: '1' },
    /--access-log: 1 is not true or/,
  ],
  ['a level that is none', ['--node', 'n'], { WEFT_LOG_LEVEL: 'loud' }, /--log-level: loud is not one of trace, /],
  ['a level given twice', ['--node', 'n', '--log-level', 'info', '--log-level', 'warn'], {}, /--log-level: .* once/],
  ['a flag given twice', ['--node', 'a', '--node', 'b'], {}, /--node: .* once/],
  ['a flag that is none', ['--node', 'n', '--nodes', 'm'], {}, /Unknown argument: nodes/],
]
for (const [what, args, env, said] of REFUSED) {
  test(`${what} is refused by name`, () => {
    assert.throws(() => configOf(args, env), said)
  })
}

test('a list is its entries, none of them empty', () => {
  assert.deepEqual(listOf(configOf(['--node', 'n'])['sandboxed-runtimes']), ['gvisor', 'runsc', 'kata', 'firecracker'])
  assert.deepEqual(listOf(' a, b,,'), ['a', 'b'])
  assert.deepEqual(listOf(''), [])
})

test('the controller’s times must fit into each other: looks into the renewal, the renewal into the lease', () => {
  const config = controllerConfig({}, { WEFT_LEASE_SECONDS: '6', WEFT_RENEW_SECONDS: '4' })
  assert.deepEqual([config['lease-seconds'], config['renew-seconds'], config['retry-ms']], [6, 4, 2000])
  assert.throws(
    () => controllerConfig({ 'renew-seconds': 15 }, {}),
    /--renew-seconds: 15 is not less than --lease-seconds/,
  )
  assert.throws(
    () => controllerConfig({ 'retry-ms': 5001 }, {}),
    /--retry-ms: 5001 is more than half of --renew-seconds/,
  )
})

test('there are as many workers as are asked for, else one a core and at most four', () => {
  assert.equal(workersOf({ workers: 7 }), 7)
  const byCores = workersOf({ workers: 0 })
  assert.ok(byCores >= 1 && byCores <= 4)
})
