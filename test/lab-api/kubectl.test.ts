// What users do with kubectl, done with two of them: one that speaks the API of today, and the oldest we promise.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { loadDefinitions } from '../../lab/api/definitions.ts'
import { startApi } from '../../lab/api/server.ts'
import { createStore } from '../../lab/api/store.ts'
import { debianKubectl, Kubectl, ownKubectl } from './kubectl.ts'
import { BOAT, DEFINITION, POD, route, SHOP, SPLIT } from './manifests.ts'
import type { Api } from '../../lab/api/server.ts'
import type { KubeObject } from '../../lab/api/object.ts'
import type { ReadLog } from '../../lab/api/http/subresources.ts'
import type { Store } from '../../lab/api/store.ts'

const CRDS = readFileSync(join(import.meta.dirname, '..', '..', 'lab', 'api', 'istio-crds.yaml'), 'utf8')

const readLog: ReadLog = async function* ({ pod, container, tailLines, follow }, signal) {
  const lines = ['one', 'two', 'three'].map((line) => `${pod}/${container} ${line}\n`)
  yield lines.slice(tailLines === undefined ? 0 : -tailLines).join('')
  if (!follow) return
  await sleep(50, undefined, { signal }).catch(() => {})
  yield `${pod}/${container} later\n`
}

for (const [name, find] of [
  ['this machine’s kubectl', ownKubectl],
  ['the kubectl of Debian', debianKubectl],
] as const) {
  const found = await find()
  describe(name, { skip: 'why' in found ? found.why : false }, () => suite('path' in found ? found.path : ''))
}

function suite(path: string): void {
  let store: Store
  let api: Api
  let kubectl: Kubectl

  before(async () => {
    store = createStore()
    loadDefinitions(store, CRDS)
    api = await startApi({ store, readLog })
    kubectl = new Kubectl(path, api.url)
  })
  after(async () => {
    kubectl.close()
    await api.close()
  })

  /** A namespace of the test's own, and `kubectl -n` it. */
  async function namespace(): Promise<string> {
    const { metadata } = store.create('namespaces', { metadata: { generateName: 't-' } })
    return metadata.name
  }

  const modern = async (): Promise<boolean> => {
    const { clientVersion } = JSON.parse(await kubectl.ok('version -o json')) as { clientVersion: { minor: string } }
    return Number.parseInt(clientVersion.minor, 10) >= 24
  }

  test('finds the server, its version and what it serves', async () => {
    assert.match(await kubectl.ok('version'), /Server Version/)
    const resources = await kubectl.ok('api-resources')
    for (const line of [/^pods +po +v1 +true +Pod$/m, /^virtualservices +vs +networking\.istio\.io\/v1 +true/m]) {
      assert.match(resources, line)
    }
    const versions = (await kubectl.ok('api-versions')).trim().split('\n')
    for (const version of ['v1', 'apps/v1', 'networking.istio.io/v1alpha3', 'split.smi-spec.io/v1alpha1']) {
      assert.ok(versions.includes(version), version)
    }
    assert.equal(await kubectl.ok('get --raw /readyz'), 'ok')
  })

  test('apply creates, then finds nothing to do, then changes what changed', async () => {
    const ns = await namespace()
    assert.match(
      await kubectl.ok(`-n ${ns} apply -f -`, SHOP),
      /^service\/shelf created\n.*\ndeployment.apps\/shelf-v1 created$/m,
    )
    assert.equal((await kubectl.ok(`-n ${ns} apply -f -`, SHOP)).match(/unchanged/g)?.length, 3)
    const changed = SHOP.replace('example/shelf:1', 'example/shelf:2').replace(
      '{ name: COLOUR, value: blue }',
      '{ name: SIZE, value: big }',
    )
    assert.match(await kubectl.ok(`-n ${ns} apply -f -`, changed), /deployment.apps\/shelf-v1 configured/)
    const [web, log] = store.get('deployments.apps', ns, 'shelf-v1')?.spec.template.spec.containers
    assert.deepEqual(
      [web.image, web.env, log.image],
      ['example/shelf:2', [{ name: 'SIZE', value: 'big' }], 'example/log:1'],
    )
    assert.match(await kubectl.ok(`-n ${ns} delete -f -`, SHOP), /deployment.apps "shelf-v1" deleted/)
    assert.equal(store.get('services', ns, 'shelf'), undefined)
  })

  test('apply takes a container out and leaves what another writer set', async () => {
    const ns = await namespace()
    await kubectl.ok(`-n ${ns} apply -f -`, SHOP)
    await kubectl.ok(`-n ${ns} scale deployment shelf-v1 --replicas=5`)
    await kubectl.ok(`-n ${ns} annotate deployment shelf-v1 example.com/by=another`)
    const without = SHOP.replace('  replicas: 2\n', '').replace(/ {8}- name: log\n.*\n/, '')
    await kubectl.ok(`-n ${ns} apply -f -`, without)
    const deployment = store.get('deployments.apps', ns, 'shelf-v1')
    assert.equal(deployment?.spec.template.spec.containers.length, 1)
    assert.equal(deployment?.metadata.annotations?.['example.com/by'], 'another')
  })

  test('the same route is one object under every version it is served in', async () => {
    const ns = await namespace()
    for (const [version, subset] of [
      ['v1alpha3', 'a'],
      ['v1beta1', 'b'],
      ['v1', 'c'],
    ] as const) {
      await kubectl.ok(`-n ${ns} apply -f -`, route(version, subset))
      assert.equal(
        store.get('virtualservices.networking.istio.io', ns, 'shelf')?.spec.http[0].route[0].destination.subset,
        subset,
      )
      const read = await kubectl.ok(
        `-n ${ns} get virtualservices.${version}.networking.istio.io shelf -o jsonpath={.apiVersion}`,
      )
      assert.equal(read, `networking.istio.io/${version}`)
    }
    assert.match(await kubectl.ok(`-n ${ns} get vs`), /^NAME +GATEWAYS +HOSTS +AGE\nshelf +\["shelf"\] +\d+s\n$/)
    assert.match(await kubectl.ok(`-n ${ns} describe virtualservice shelf`), /Subset: +c/)
    await kubectl.ok(`-n ${ns} apply -f -`, SPLIT)
    assert.match(await kubectl.ok(`-n ${ns} get trafficsplit`), /^shelf +shelf +\d+s$/m)
  })

  test('get shows tables as wide as asked for, and objects in every other form', async () => {
    const ns = await namespace()
    await kubectl.ok(`-n ${ns} apply -f -`, SHOP)
    await kubectl.ok(`-n ${ns} apply -f -`, POD)
    assert.match(
      await kubectl.ok(`-n ${ns} get pods`),
      /^NAME +READY +STATUS +RESTARTS +AGE\nwalker +0\/1 +Pending +0 +\d+s\n$/,
    )
    assert.match(
      await kubectl.ok(`-n ${ns} get po -o wide`),
      /^NAME.*IP +NODE +NOMINATED NODE +READINESS GATES\nwalker.*<none> +<none> +<none>/,
    )
    assert.match(
      await kubectl.ok(`-n ${ns} get svc`),
      /^NAME +TYPE +CLUSTER-IP +EXTERNAL-IP +PORT\(S\) +AGE\nshelf +ClusterIP +10\.96\.\S+ +<none> +80\/TCP/,
    )
    assert.match(
      await kubectl.ok(`-n ${ns} get deploy -o wide`),
      /shelf-v1 +0\/2 +0 +0 +\d+s +web,log +example\/shelf:1,example\/log:1 +app=shelf,version=v1/,
    )
    const all = await kubectl.ok(`-n ${ns} get all`)
    for (const line of [/^pod\/walker/m, /^service\/shelf/m, /^deployment.apps\/shelf-v1/m]) assert.match(all, line)
    assert.match(await kubectl.ok(`-n ${ns} get pod walker -o yaml`), /^kind: Pod$/m)
    assert.equal(JSON.parse(await kubectl.ok(`-n ${ns} get pods -o json`)).items.length, 1)
    assert.equal(await kubectl.ok(`-n ${ns} get pods -o name`), 'pod/walker\n')
    assert.match(await kubectl.ok(`-n ${ns} get pods -l app=walker --show-labels`), /app=walker$/m)
    assert.match((await kubectl.run(['-n', ns, 'get', 'pods', '-l', 'app!=walker'])).error, /No resources found/)
    assert.match(
      await kubectl.ok(`get pods -A --field-selector metadata.namespace=${ns},status.phase=Pending`),
      /walker/,
    )
    assert.match(await kubectl.ok(`get pods -A --sort-by=.metadata.name`), /walker/)
    assert.match(await kubectl.ok('get ns default --no-headers'), /^default +Active +\d/)
  })

  test('describe tells a pod, a service, a deployment and a namespace, with their events', async () => {
    const ns = await namespace()
    await kubectl.ok(`-n ${ns} apply -f -`, SHOP)
    await kubectl.ok(`-n ${ns} apply -f -`, POD)
    const pod = store.get('pods', ns, 'walker')
    store.create('events', {
      metadata: { name: 'walker.1', namespace: ns },
      involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace: ns, name: 'walker', uid: pod?.metadata.uid },
      reason: 'Started',
      message: 'Started container legs',
      type: 'Normal',
      firstTimestamp: pod?.metadata.creationTimestamp,
      lastTimestamp: pod?.metadata.creationTimestamp,
      count: 1,
      source: { component: 'kubelet' },
    })
    assert.match(
      await kubectl.ok(`-n ${ns} describe pod walker`),
      /Image: +example\/legs:2[\s\S]*Normal +Started .*Started container legs/,
    )
    assert.match(await kubectl.ok(`-n ${ns} describe service shelf`), /IP: +10\.96\.[\s\S]*TargetPort: +web\/TCP/)
    assert.match(await kubectl.ok(`-n ${ns} describe deployment shelf-v1`), /Replicas: +2 desired[\s\S]*COLOUR: +blue/)
    assert.match(await kubectl.ok(`describe namespace ${ns}`), /Status: +Active/)
    assert.match(await kubectl.ok(`-n ${ns} get events`), /Normal +Started +pod\/walker +Started container legs/)
    assert.match(await kubectl.ok(`-n ${ns} get events.events.k8s.io`), /Started container legs/)
  })

  test('creates what its create, run and expose commands make', async () => {
    const ns = await namespace()
    for (const [line, answer] of [
      ['create configmap words --from-literal=a=b', 'configmap/words created'],
      ['create secret generic key --from-literal=a=b', 'secret/key created'],
      ['create serviceaccount sam', 'serviceaccount/sam created'],
      ['create deployment web --image=example/web:1 --replicas=3 --port=80', 'deployment.apps/web created'],
      ['create service clusterip plain --tcp=80:8080', 'service/plain created'],
      ['create service externalname far --external-name=far.example', 'service/far created'],
      ['create job once --image=example/once -- true', 'job.batch/once created'],
      ['run runner --image=example/run --labels=app=runner --env=A=b --port=80', 'pod/runner created'],
      ['expose deployment web --port=80 --target-port=http', 'service/web exposed'],
      ['expose pod runner --type=NodePort --name=out', 'service/out exposed'],
    ] as const) {
      assert.equal(await kubectl.ok(`-n ${ns} ${line}`), `${answer}\n`)
    }
    assert.equal(store.get('configmaps', ns, 'words')?.['data'].a, 'b')
    assert.equal(store.get('secrets', ns, 'key')?.['data'].a, 'Yg==')
    const { replicas, template } = store.get('deployments.apps', ns, 'web')!.spec
    assert.deepEqual([replicas, template.spec.containers[0].ports[0].containerPort], [3, 80])
    assert.equal(store.get('services', ns, 'plain')?.spec.ports[0].targetPort, 8080)
    assert.equal(store.get('services', ns, 'web')?.spec.ports[0].targetPort, 'http')
    assert.deepEqual(store.get('jobs.batch', ns, 'once')?.spec.template.spec.containers[0].command, ['true'])
    assert.ok(store.get('services', ns, 'out')?.spec.ports[0].nodePort >= 30_000)
    const other = `${ns}-two`
    await kubectl.ok(`create namespace ${other}`)
    assert.equal(store.get('namespaces', null, other)?.status.phase, 'Active')
    assert.match(await kubectl.ok(`delete namespace ${other}`), /deleted/)
  })

  test('label, annotate, scale, set image, rollout restart, patch, edit and replace change the object', async () => {
    const ns = await namespace()
    await kubectl.ok(`-n ${ns} apply -f -`, SHOP)
    const spec = () => (store.get('deployments.apps', ns, 'shelf-v1') as KubeObject).spec
    await kubectl.ok(`label namespace ${ns} team=blue`)
    await kubectl.ok(`annotate namespace ${ns} weft.dev/mesh=enabled`)
    const { labels, annotations } = store.get('namespaces', null, ns)!.metadata
    assert.deepEqual([labels?.['team'], annotations?.['weft.dev/mesh']], ['blue', 'enabled'])
    await kubectl.ok(`label namespace ${ns} team-`)
    await kubectl.ok(`annotate namespace ${ns} weft.dev/mesh-`)
    assert.equal(store.get('namespaces', null, ns)?.metadata.annotations?.['weft.dev/mesh'], undefined)

    await kubectl.ok(`-n ${ns} scale deployment/shelf-v1 --replicas=4`)
    await kubectl.ok(`-n ${ns} scale deployment/shelf-v1 --current-replicas=4 --replicas=7`)
    assert.equal(spec().replicas, 7)
    assert.match(
      await kubectl.refused(`-n ${ns} scale deployment/shelf-v1 --current-replicas=4 --replicas=1`),
      /Expected replicas to be 4, was 7/i,
    )
    await kubectl.ok(`-n ${ns} set image deployment/shelf-v1 web=example/shelf:9`)
    assert.equal(spec().template.spec.containers[0].image, 'example/shelf:9')
    await kubectl.ok(`-n ${ns} rollout restart deployment/shelf-v1`)
    assert.ok(spec().template.metadata.annotations['kubectl.kubernetes.io/restartedAt'])

    await kubectl.ok(
      `-n ${ns} patch deployment shelf-v1 -p '{"spec":{"template":{"spec":{"containers":[{"name":"log","image":"l:2"}]}}}}'`,
    )
    assert.deepEqual(
      spec().template.spec.containers.map(({ image }: { image: string }) => image),
      ['example/shelf:9', 'l:2'],
    )
    await kubectl.ok(`-n ${ns} patch service shelf --type=merge -p '{"spec":{"sessionAffinity":"ClientIP"}}'`)
    await kubectl.ok(
      `-n ${ns} patch service shelf --type=json -p '[{"op":"replace","path":"/spec/ports/0/port","value":81}]'`,
    )
    const { sessionAffinity, ports } = store.get('services', ns, 'shelf')!.spec
    assert.deepEqual([sessionAffinity, ports[0].port], ['ClientIP', 81])

    const editor = { KUBE_EDITOR: 'sed -i s/l:2/l:3/' }
    const edited = await kubectl.run(['-n', ns, 'edit', 'deployment', 'shelf-v1'], '', editor)
    assert.equal(edited.code, 0, edited.error)
    assert.equal(spec().template.spec.containers[1].image, 'l:3')
    await kubectl.ok(`-n ${ns} replace -f -`, SHOP)
    assert.equal(spec().replicas, 2)
    await kubectl.ok(`-n ${ns} apply -f -`, route('v1', 'old'))
    const other = await kubectl.run(['-n', ns, 'edit', 'vs', 'shelf'], '', { KUBE_EDITOR: 'sed -i s/old$/new/' })
    assert.equal(other.code, 0, other.error)
    assert.equal(
      store.get('virtualservices.networking.istio.io', ns, 'shelf')?.spec.http[0].route[0].destination.subset,
      'new',
    )
  })

  test('a server dry run and a diff change nothing', async () => {
    const ns = await namespace()
    await kubectl.ok(`-n ${ns} apply -f -`, SHOP)
    const before = store.version
    const changed = SHOP.replace('replicas: 2', 'replicas: 9')
    assert.match(
      await kubectl.ok(`-n ${ns} apply --dry-run=server -f -`, changed),
      /configured \(server dry run\)|configured \(dry run\)/,
    )
    assert.match(await kubectl.ok(`-n ${ns} apply --dry-run=server -f -`, route('v1', 'z')), /created/)
    const diff = await kubectl.run(['-n', ns, 'diff', '-f', '-'], changed)
    assert.match(diff.out, /\+ +replicas: 9/, diff.error)
    assert.equal(store.version, before)
  })

  test('refusals read as those of a cluster', async () => {
    const ns = await namespace()
    for (const [line, input, answer] of [
      [`-n ${ns} get pod nobody`, '', /^Error from server \(NotFound\): pods "nobody" not found/],
      [`-n ${ns} get vs nobody`, '', /virtualservices\.networking\.istio\.io "nobody" not found/],
      [`-n ${ns} get nonsense`, '', /the server doesn't have a resource type "nonsense"/],
      ['-n nowhere create -f -', POD, /\(NotFound\).*namespaces "nowhere" not found/],
      [
        `-n ${ns} create -f -`,
        POD.replace('image: example/legs:2', 'workingDir: /'),
        /spec\.containers\[0\]\.image: Required value/,
      ],
      [
        `-n ${ns} create -f -`,
        SHOP.replace('matchLabels: { app: shelf, version: v1 }', 'matchLabels: { app: x }'),
        /`selector` does not match template `labels`/,
      ],
      [
        'create namespace UPPER',
        '',
        /Namespace "UPPER" is invalid: metadata\.name: Invalid value|is invalid: metadata.name/,
      ],
    ] as const) {
      assert.match(await kubectl.refused(line, input), answer)
    }
    await kubectl.ok(`-n ${ns} create -f -`, POD)
    assert.match(await kubectl.refused(`-n ${ns} create -f -`, POD), /\(AlreadyExists\).*pods "walker" already exists/)
  })

  test('wait ends on a condition, a field and a deletion, and rollout status on a rollout', async () => {
    const ns = await namespace()
    await kubectl.ok(`-n ${ns} apply -f -`, SHOP)
    await kubectl.ok(`-n ${ns} apply -f -`, POD)
    assert.match(await kubectl.refused(`-n ${ns} wait --for=condition=Ready pod/walker --timeout=1s`), /timed out/)
    const ready = kubectl.ok(`-n ${ns} wait --for=condition=Ready pod/walker --timeout=20s`)
    const available = kubectl.ok(`-n ${ns} wait --for=condition=Available deployment --all --timeout=20s`)
    const rollout = kubectl.ok(`-n ${ns} rollout status deployment/shelf-v1 --timeout=20s`)
    const field = (await modern())
      ? kubectl.ok(`-n ${ns} wait --for=jsonpath={.status.phase}=Running pod/walker --timeout=20s`)
      : undefined
    await sleep(300)
    const conditions = (type: string) => [{ type, status: 'True' }]
    const pod = (object: KubeObject): void =>
      Object.assign(object.status, { phase: 'Running', conditions: conditions('Ready') })
    store.modify('pods', ns, 'walker', pod, { subresource: 'status' })
    const done = { observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2 }
    const deployment = (object: KubeObject): void => {
      object.status = { ...done, conditions: conditions('Available') }
    }
    store.modify('deployments.apps', ns, 'shelf-v1', deployment, { subresource: 'status' })
    assert.match(await ready, /condition met/)
    assert.match(await available, /condition met/)
    assert.match(await rollout, /successfully rolled out/)
    if (field) assert.match(await field, /condition met/)
    const gone = kubectl.ok(`-n ${ns} wait --for=delete pod/walker --timeout=20s`)
    await sleep(300)
    store.delete('pods', ns, 'walker')
    await gone
  })

  test('delete waits for a pod whose kubelet takes its time', async () => {
    const ns = await namespace()
    await kubectl.ok(`-n ${ns} apply -f -`, POD.replace('spec:', 'spec:\n  nodeName: somewhere'))
    const deletion = kubectl.ok(`-n ${ns} delete pod walker`)
    await new Promise<void>((resolve) => {
      const stop = store.watch('pods', ({ object: { metadata } }) => {
        if (metadata.namespace !== ns || metadata.deletionTimestamp === undefined) return
        queueMicrotask(() => stop())
        resolve()
      })
    })
    assert.match(await kubectl.ok(`-n ${ns} get pod walker`), /Terminating/)
    store.delete('pods', ns, 'walker', { gracePeriodSeconds: 0 })
    assert.match(await deletion, /pod "walker" deleted/)
    await kubectl.ok(`-n ${ns} apply -f -`, POD.replace('spec:', 'spec:\n  nodeName: somewhere'))
    await kubectl.ok(`-n ${ns} delete pod walker --force --grace-period=0`)
    assert.equal(store.get('pods', ns, 'walker'), undefined)
  })

  test('get -w shows changes as they come', async () => {
    const ns = await namespace()
    await kubectl.ok(`-n ${ns} apply -f -`, POD)
    // The request's own end is the end of the watch: a timeout of the request, as the user may give one.
    const watching = kubectl.run(['-n', ns, 'get', 'pods', '-w', '--request-timeout=3s'])
    await sleep(1500)
    const running = (object: KubeObject): void => {
      object.status.phase = 'Running'
    }
    store.modify('pods', ns, 'walker', running, { subresource: 'status' })
    store.create('pods', {
      metadata: { name: 'second', namespace: ns },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    })
    const lines = (await watching).out.trim().split('\n')
    assert.equal(lines.length, 4, lines.join('\n'))
    const words = lines.map((line) => line.split(/ +/).slice(0, 3).join(' '))
    assert.deepEqual(words, ['NAME READY STATUS', 'walker 0/1 Pending', 'walker 0/1 Running', 'second 0/1 Pending'])
  })

  test('logs come through the hook, followed, by tail, and only from containers that exist', async () => {
    const ns = await namespace()
    await kubectl.ok(`-n ${ns} apply -f -`, POD)
    assert.equal(await kubectl.ok(`-n ${ns} logs walker`), 'walker/legs one\nwalker/legs two\nwalker/legs three\n')
    assert.equal(await kubectl.ok(`-n ${ns} logs walker --tail=1`), 'walker/legs three\n')
    assert.match(await kubectl.ok(`-n ${ns} logs -f walker -c legs`), /three\nwalker\/legs later\n$/)
    assert.match(await kubectl.refused(`-n ${ns} logs walker -c arms`), /arms is not valid for pod walker/)
  })

  test('a definition is served at once, with its columns, names and schema, and takes its objects along', async () => {
    const ns = await namespace()
    await kubectl.ok('apply -f -', DEFINITION)
    await kubectl.ok('wait --for=condition=Established crd/boats.example.com --timeout=10s')
    await kubectl.ok(`-n ${ns} apply -f -`, BOAT)
    const afloat = (object: KubeObject): void => {
      object.status = { conditions: [{ type: 'Afloat', status: 'True' }] }
    }
    store.modify('boats.example.com', ns, 'argo', afloat, { subresource: 'status' })
    const shown = /^NAME +CREW +PORTS +AFLOAT\nargo +50 +\["iolcus","colchis"\] +True\n$/
    for (const name of ['boat', 'boats', 'bt', 'fleet']) assert.match(await kubectl.ok(`-n ${ns} get ${name}`), shown)
    assert.match(await kubectl.ok(`-n ${ns} get bt -o wide`), /HULL\nargo.*oak/)
    assert.match(await kubectl.ok('get crd boats.example.com'), /^NAME +CREATED AT\nboats.example.com +\d{4}-/)
    await kubectl.ok(`-n ${ns} apply -f -`, BOAT.replace('crew: 50', 'crew: 49').replace('  hull: oak\n', ''))
    assert.deepEqual(store.get('boats.example.com', ns, 'argo')?.spec, { crew: 49, ports: ['iolcus', 'colchis'] })
    if (await modern()) {
      assert.match(await kubectl.ok('explain boat.spec.crew'), /How many row/)
      await kubectl.ok(`-n ${ns} patch boat argo --subresource=status --type=merge -p '{"status":{"leaks":0}}'`)
      assert.equal(store.get('boats.example.com', ns, 'argo')?.status.leaks, 0)
    }
    assert.match(await kubectl.ok('delete crd boats.example.com'), /deleted/)
    assert.match(await kubectl.refused(`-n ${ns} get boats.example.com`), /NotFound|doesn't have a resource type/)
  })

  test('delete takes selections and everything of a kind', async () => {
    const ns = await namespace()
    for (const name of ['a', 'b', 'c']) await kubectl.ok(`-n ${ns} create configmap ${name}`)
    await kubectl.ok(`-n ${ns} label configmap a b pick=me`)
    await kubectl.ok(`-n ${ns} delete configmap -l pick=me`)
    assert.deepEqual(
      store.list('configmaps', { namespace: ns }).map(({ metadata }) => metadata.name),
      ['c'],
    )
    await kubectl.ok(`-n ${ns} delete configmap --all`)
    assert.equal(store.list('configmaps', { namespace: ns }).length, 0)
  })
}
