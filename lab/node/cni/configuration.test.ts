import assert from 'node:assert/strict'
import { test } from 'node:test'
import { environmentOf, failureOf, firstFile, inputOf, ownNetwork, ownResult, parseNetwork } from './configuration.ts'

test('the first file by name counts, of those that are configurations', () => {
  assert.equal(firstFile(['20-b.conf', '10-a.conflist', '05-note.txt', '10-a.conflist.bak']), '10-a.conflist')
  assert.equal(firstFile(['b.json', 'a.conf']), 'a.conf')
  assert.equal(firstFile(['readme']), undefined)
})

test('a node begins with the network of the lab alone', () => {
  assert.deepEqual(parseNetwork('10-weft-lab.conflist', ownNetwork()), {
    name: 'weft-lab',
    cniVersion: '1.0.0',
    chained: [],
  })
  assert.deepEqual(parseNetwork('a.conf', '{"cniVersion":"1.0.0","name":"n","type":"weft-lab"}').chained, [])
})

test('plug-ins after it are told their own part, the list, and what was made before', () => {
  const plugin = { type: 'more', socket: '/run/x', name: 'other' }
  const text = JSON.stringify({ cniVersion: '1.1.0', name: 'n', plugins: [{ type: 'weft-lab' }, plugin] })
  const list = parseNetwork('a.conflist', text)
  const made = { link: 'p1', netns: '/run/netns/x', address: '10.244.1.5', gateway: '169.254.1.1' }
  const result = ownResult(list, made)
  assert.deepEqual(result['ips'], [{ address: '10.244.1.5/32', gateway: '169.254.1.1', interface: 1 }])
  assert.deepEqual(JSON.parse(inputOf(list, list.chained[0]!, result)), {
    ...plugin,
    ...{ name: 'n', cniVersion: '1.1.0', prevResult: result },
  })
})

test('a configuration that cannot be carried out is refused with the field named', () => {
  const refusals: [string, string, RegExp][] = [
    ['a.conflist', '{', /network configuration a\.conflist: Expected/],
    ['a.conflist', '[]', /not an object/],
    ['a.conflist', '{"plugins":[]}', /name: missing/],
    ['a.conflist', '{"name":"n","plugins":[]}', /plugins: no plug-in/],
    ['a.conflist', '{"name":"n","plugins":[{"type":"../x"}]}', /plugins\[0\]\.type: no name of a program/],
    ['a.conf', '{"name":"n","type":"bridge"}', /plugins\[0\]\.type: "weft-lab" makes .* not "bridge"/],
  ]
  for (const [file, text, message] of refusals) assert.throws(() => parseNetwork(file, text), message)
})

test('who is attached stands in the environment, as runtimes for Kubernetes write it', () => {
  const attached = { containerId: 'c', netns: '/run/netns/x', namespace: 'shop', pod: 'web', uid: 'u' }
  assert.deepEqual(environmentOf('ADD', '/opt/cni/bin', attached), {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'c',
    CNI_NETNS: '/run/netns/x',
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/opt/cni/bin',
    CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=c;K8S_POD_UID=u',
  })
})

test('a failure is told in the words of its error object, or else in whatever was printed', () => {
  const failed = (stdout: string, stderr = ''): string => failureOf({ code: 1, stdout, stderr })
  assert.equal(failed('{"code":11,"msg":"not now","details":"no agent"}'), 'not now; no agent')
  assert.equal(failed('{"code":11,"msg":"not now"}', 'noise'), 'not now')
  assert.equal(failed('', 'cannot\n'), 'netplugin failed: "cannot"')
  assert.equal(failed(''), 'netplugin failed with no error message: exit status 1')
})
