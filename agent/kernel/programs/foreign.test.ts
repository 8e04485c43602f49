import assert from 'node:assert/strict'
import test from 'node:test'
import { sentencesOf } from './foreign.ts'

test('Cilium’s socket load balancer is named with the setting that makes it leave pods alone', () => {
  // as the kernel keeps them: 15 characters; the last is an older release's
  for (const name of ['cil_sock4_connect', 'cil_sock4_conne', 'cil_sock6_conne', 'sock4_connect', 'sock6_connect']) {
    const sentences = sentencesOf([name])
    assert.equal(sentences.length, 1, name)
    assert.match(sentences[0] ?? '', /Cilium.*socketLB\.hostNamespaceOnly=true/, name)
  }
})

test('Calico’s connect-time load balancer is named', () => {
  for (const name of ['calico_connect_', 'calico_connect4', 'cali_ctlb_v4', 'cali_ctlb_v6']) {
    assert.match(sentencesOf([name]).join(), /Calico.*switch it off/, name)
  }
})

test('a load balancer at both families’ hooks is named once, two of them once each', () => {
  assert.equal(sentencesOf(['cil_sock4_conne', 'cil_sock6_conne']).length, 1)
  assert.equal(sentencesOf(['other', 'cil_sock4_conne', 'calico_connect4', 'cil_sock6_conne']).length, 2)
})

test('programs that balance nothing are not complained about', () => {
  assert.deepEqual(sentencesOf([]), [])
  assert.deepEqual(
    sentencesOf(['sd_fw_ingress', 'restrict_filesy', 'my_sock4_conne', 'sock_create', 'connect4', '']),
    [],
  )
})
