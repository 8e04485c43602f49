import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { RequestOptions } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { KubeConfig } from '@kubernetes/client-node'
import { useTokenFiles } from './token-file.ts'

const CONFIG = `apiVersion: v1
kind: Config
clusters: [{ name: c, cluster: { server: 'https://127.0.0.1:1' } }]
users: [{ name: filed, user: { tokenFile: token } }, { name: plain, user: { token: mine } }, { name: bare }]
contexts:
  - { name: filed, context: { cluster: c, user: filed } }
  - { name: plain, context: { cluster: c, user: plain } }
  - { name: bare, context: { cluster: c, user: bare } }
current-context: filed
`

/** A configuration read from a folder with a file `token`, and its time, which the test moves. */
async function configured(t: TestContext, token: string) {
  const folder = await mkdtemp(join(tmpdir(), 'weft-token-'))
  t.after(() => rm(folder, { recursive: true }))
  const [file, tokenFile] = [join(folder, 'kubeconfig'), join(folder, 'token')]
  await writeFile(file, CONFIG)
  await writeFile(tokenFile, token)
  const config = new KubeConfig()
  config.loadFromFile(file)
  const time = { ms: 0 }
  useTokenFiles(config, file, () => time.ms)
  const sent = async (user: string): Promise<unknown> => {
    config.setCurrentContext(user)
    const options: RequestOptions = {}
    await config.applyToHTTPSOptions(options)
    return (options.headers as Record<string, unknown> | undefined)?.['Authorization']
  }
  return { tokenFile, time, sent }
}

test('the token is read again after a minute, beside the kubeconfig; a file that is gone for a while does no harm', async (t) => {
  const { tokenFile, time, sent } = await configured(t, 'one\n')
  assert.equal(await sent('filed'), 'Bearer one')
  await writeFile(tokenFile, 'two')
  time.ms = 59_999
  assert.equal(await sent('filed'), 'Bearer one')
  time.ms = 60_000
  assert.equal(await sent('filed'), 'Bearer two')
  await rm(tokenFile)
  time.ms = 120_000
  assert.equal(await sent('filed'), 'Bearer two')
  await writeFile(tokenFile, 'three')
  assert.equal(await sent('filed'), 'Bearer three')
})

test('users without such a file come as before, and an empty file is no token', async (t) => {
  const { sent } = await configured(t, ' \n')
  assert.equal(await sent('plain'), 'Bearer mine')
  assert.equal(await sent('bare'), undefined)
  await assert.rejects(sent('filed'), /no token in .*token/)
})
