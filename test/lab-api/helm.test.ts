// What a chart goes through with the real helm: installed, upgraded, rolled back, uninstalled; and what kubectl sees of it.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { startApi } from '../../lab/api/server.ts'
import { createStore } from '../../lab/api/store.ts'
import { startControllers } from '../../lab/controllers/start.ts'
import { PROJECT } from '../../lab/state.ts'
import { writeChart } from './chart.ts'
import { findHelm, NO_HELM } from '../helm.ts'
import { Helm } from './helm.ts'
import { Kubectl, ownKubectl } from './kubectl.ts'
import type { Api } from '../../lab/api/server.ts'
import type { Store } from '../../lab/api/store.ts'

const path = findHelm()
const found = await ownKubectl()

describe('helm 4', { skip: path === null ? NO_HELM : false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-chart-'))
  let store: Store
  let api: Api
  let helm: Helm
  let controllers: { stop: () => void }

  before(async () => {
    writeChart(folder)
    store = createStore()
    controllers = startControllers({ store, log: { warn: () => undefined } })
    api = await startApi({ store })
    helm = new Helm(path ?? '', api.url)
  })
  after(async () => {
    helm.close()
    controllers.stop()
    await api.close()
    rmSync(folder, { recursive: true })
  })

  const PLURALS = ['validatingadmissionpolicies', 'validatingadmissionpolicybindings']
  const owned = (name: string): string[] =>
    store.catalog
      .all()
      .filter(({ viewOf, createOnly }) => viewOf === undefined && !createOnly)
      .filter(({ key }) => store.list(key).some(({ metadata }) => metadata.name === name))
      .map(({ plural }) => plural)

  for (const mode of ['true', 'false']) {
    test(`carries a release through its life with --server-side=${mode}`, async () => {
      const name = `kite-${mode}`
      const at = `-n sky-${mode}`
      const side = `--server-side=${mode}`
      const data = (): unknown => store.get('configmaps', `sky-${mode}`, name)?.['data']
      const ports = (): unknown[] =>
        store.get('services', `sky-${mode}`, name)?.spec.ports.map((port: { port: number }) => port.port)
      await helm.ok(`install ${name} ${folder} ${at} --create-namespace ${side} --wait=watcher`)
      assert.deepEqual(data(), { colour: 'red' })
      const kite = store.get('kites.example.com', `sky-${mode}`, name)
      assert.deepEqual(kite?.spec, { colour: 'red', tails: 2 })
      for (const plural of [...PLURALS, 'priorityclasses', 'poddisruptionbudgets', 'clusterrolebindings']) {
        assert.ok(owned(name).includes(plural), plural)
      }
      await helm.ok(`upgrade ${name} ${folder} ${at} ${side} --set colour=blue,extra=more`)
      assert.deepEqual(data(), { colour: 'blue', extra: 'more' })
      assert.deepEqual(ports(), [80, 81])
      assert.match(
        await helm.refused(`upgrade ${name} ${folder} ${at} ${side} --set colour=green`),
        /Unsupported value/,
      )
      await helm.ok(`rollback ${name} 1 ${at} ${side}`)
      assert.deepEqual(data(), { colour: 'red' }, 'a field that is no longer named is gone')
      assert.deepEqual(ports(), [80])
      assert.match(await helm.ok(`list ${at}`), /deployed/)
      assert.equal((await helm.ok(`history ${name} ${at} -o json`)).match(/"revision"/g)?.length, 4)
      await helm.ok(`uninstall ${name} ${at} --no-hooks`)
      assert.deepEqual(owned(name), [])
    })
  }

  test('definitions and the root namespace outlive the values and the release that made them, and are taken up again', async () => {
    const chart = join(PROJECT, 'charts/weft')
    const off = 'crds.istio.networking=false,crds.istio.security=false,rootNamespace.create=false'
    const areThere = (): void => {
      assert.ok(
        store.get('customresourcedefinitions.apiextensions.k8s.io', null, 'virtualservices.networking.istio.io'),
      )
      assert.ok(store.get('namespaces', null, 'istio-system'))
    }
    await helm.ok(`install weft ${chart} -n mesh --create-namespace`)
    await helm.ok(`upgrade weft ${chart} -n mesh --install --reset-then-reuse-values --set ${off}`)
    areThere()
    await helm.ok('uninstall weft -n mesh --no-hooks')
    areThere()
    await helm.ok(`install weft ${chart} -n mesh`)
    await helm.ok('uninstall weft -n mesh --no-hooks')
    areThere()
  })

  const kubectlOf = (): Kubectl => new Kubectl('path' in found ? found.path : '', api.url)
  const skip = 'why' in found ? found.why : false

  test('a policy of a chart refuses what it is against, in the words of a cluster', { skip }, async () => {
    const kubectl = kubectlOf()
    try {
      await helm.ok(`install guard ${folder} -n default`)
      const refused = await kubectl.refused('create configmap guarded --from-literal=forbidden=1')
      assert.match(refused, /configmaps "guarded" is invalid|configmaps "guarded" is forbidden/)
      assert.match(
        refused,
        /ValidatingAdmissionPolicy 'guard' with binding 'guard' denied request: nobody may say forbidden/,
      )
      await kubectl.ok('create configmap guarded --from-literal=allowed=1')
      const patch = ['patch', 'configmap', 'guarded', '--type=merge', '-p', '{"data":{"forbidden":"1"}}']
      assert.match((await kubectl.run(patch)).error, /nobody may say forbidden/)
      await kubectl.ok('create configmap other --from-literal=forbidden=1')
      await helm.ok('uninstall guard -n default --no-hooks')
      await kubectl.ok('create configmap guarded-2 --from-literal=forbidden=1')
    } finally {
      kubectl.close()
    }
  })
})
