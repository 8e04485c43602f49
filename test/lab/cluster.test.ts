// One lab of two nodes, looked at from all sides: services, names, readiness, exec, logs, volumes, ends.
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { CoreV1Event, V1EndpointSlice, V1Pod } from '@kubernetes/client-node'
import { podLink, podNetns } from '../../lab/node/network.ts'
import { TestLab, eventually } from './lab.ts'

const echo = (port: number): string =>
  `require('http').createServer((q,r)=>r.end(JSON.stringify({pod:require('os').hostname(),from:q.socket.remoteAddress}))).listen(${String(port)})`

const MANIFESTS = `
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { type: NodePort, selector: { app: web }, ports: [{ name: http, port: 80, targetPort: main, nodePort: 30080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: web-headless }
spec: { clusterIP: None, selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: sticky }
spec: { sessionAffinity: ClientIP, selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: nobody }
spec: { selector: { app: nobody }, ports: [{ port: 80 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 2
      topologySpreadConstraints: []
      containers:
      - name: web
        image: none
        ports: [{ name: main, containerPort: 8080 }]
        command: [node, -e, "${echo(8080)}"]
        readinessProbe: { exec: { command: [sh, -c, '! test -e /scratch/unready'] }, periodSeconds: 1, failureThreshold: 1 }
        volumeMounts: [{ name: scratch, mountPath: /scratch }]
      volumes: [{ name: scratch, emptyDir: {} }]
---
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { greeting: hello, file.txt: "from a config map\\n" }
---
apiVersion: v1
kind: Pod
metadata: { name: client, labels: { app: client } }
spec:
  terminationGracePeriodSeconds: 5
  initContainers:
  - { name: init, image: none, command: [sh, -c, 'echo made by init >/shared/file'], volumeMounts: [{ name: shared, mountPath: /shared }] }
  containers:
  - name: main
    image: none
    command: [sh, -c, 'trap "echo got the signal; sleep 0.3; exit 0" TERM; echo up as $GREETING; echo loud >&2; while :; do sleep 0.05; done']
    env:
    - { name: GREETING, valueFrom: { configMapKeyRef: { name: settings, key: greeting } } }
    - { name: ADDRESS, valueFrom: { fieldRef: { fieldPath: status.podIP } } }
    volumeMounts:
    - { name: shared, mountPath: /shared }
    - { name: settings, mountPath: /etc/not/there, readOnly: true }
    - { name: shared, mountPath: /tmp }
  - { name: second, image: none, command: [sleep, infinity] }
  volumes: [{ name: shared, emptyDir: {} }, { name: settings, configMap: { name: settings } }]
`
const PODS = '/api/v1/namespaces/default/pods'

let lab: TestLab
before(async () => {
  lab = await TestLab.make()
  await lab.up(MANIFESTS)
})
after(() => lab.end())

const webPods = async (): Promise<V1Pod[]> =>
  (await lab.api.get<{ items: V1Pod[] }>(`${PODS}?labelSelector=app%3Dweb`)).items.filter(
    (pod) => !pod.metadata?.deletionTimestamp,
  )
const eventsOf = async (pod: string): Promise<string[]> =>
  (await lab.api.get<{ items: CoreV1Event[] }>('/api/v1/namespaces/default/events')).items
    .filter((event) => event.involvedObject.name === pod)
    .map((event) => event.reason ?? '')
/** Who answered `count` requests to `url`, each on a connection of its own. */
const askers = (url: string, count: number): string =>
  `const seen = {}; for (let i = 0; i < ${String(count)}; i++) {
     const r = await fetch('${url}', { headers: { connection: 'close' } }); const { pod, from } = await r.json()
     seen[pod] = from } console.log(JSON.stringify(seen))`

test('a service name leads to its address and on to pods on both nodes, who see the caller', async () => {
  const nodes = new Set((await webPods()).map((pod) => pod.spec?.nodeName))
  assert.deepEqual([...nodes].toSorted(), ['node-1', 'node-2'])
  const seen = JSON.parse(await lab.js('client', askers('http://web', 40))) as Record<string, string>
  assert.equal(Object.keys(seen).length, 2)
  const client = await lab.pod('client')
  for (const from of Object.values(seen)) assert.equal(from.replace('::ffff:', ''), client.status?.podIP)
})

test('with session affinity one caller stays with one pod', async () => {
  assert.equal(Object.keys(JSON.parse(await lab.js('client', askers('http://sticky', 20))) as object).length, 1)
})

test('a pod reaches itself through its service', async () => {
  const [pod] = await webPods()
  const seen = JSON.parse(await lab.js(pod?.metadata?.name ?? '', askers('http://web', 40))) as Record<string, string>
  assert.ok(Object.keys(seen).includes(pod?.metadata?.name ?? ''))
})

test('a node reaches service addresses, and every node answers on a node port, each from its own address', async () => {
  const path = '/api/v1/namespaces/default/services/web'
  const address = (await lab.api.get<{ spec: { clusterIP: string } }>(path)).spec.clusterIP
  const asked = {
    [`http://${address}`]: '10.89.0.11',
    'http://10.89.0.11:30080': '10.89.0.11',
    'http://10.89.0.12:30080': '10.89.0.12',
  }
  for (const [url, source] of Object.entries(asked)) {
    const code = `fetch('${url}').then((r) => r.json()).then((j) => console.log(j.pod, j.from))`
    const result = await lab.run('exec', '--node', 'node-1', '--', 'node', '-e', code)
    assert.match(result.stdout, new RegExp(`^web-\\S+ ::ffff:${source}\n$`), url + result.stderr)
  }
})

test('a service without pods refuses at once', async () => {
  const code = `const t = Date.now(); await fetch('http://nobody').catch((e) => console.log(e.cause.code, Date.now() - t < 1000))`
  assert.equal(await lab.js('client', code), 'ECONNREFUSED true')
})

test('names resolve as in Kubernetes: headless, ports, search path, TCP, and what does not exist', async () => {
  const code = `const { Resolver } = require('dns').promises; const r = new Resolver()
    const headless = (await r.resolve4('web-headless.default.svc.cluster.local')).sort()
    const srv = (await r.resolveSrv('_http._tcp.web.default.svc.cluster.local')).map((s) => s.port)
    const none = await r.resolve4('nosuch.default.svc.cluster.local').catch((e) => e.code)
    const six = await r.resolve6('web.default.svc.cluster.local').catch((e) => e.code)
    const out = await r.resolve4('example.org').catch((e) => e.code)
    const found = (await require('dns').promises.lookup('web.default')).address
    console.log(JSON.stringify({ headless, srv, none, six, out, found, server: r.getServers() }))`
  const seen = JSON.parse(await lab.js('client', code))
  assert.deepEqual(seen.headless, (await webPods()).map((pod) => pod.status?.podIP).toSorted())
  assert.deepEqual(
    { ...seen, headless: 0, found: 0 },
    { headless: 0, found: 0, srv: [80], none: 'ENOTFOUND', six: 'ENODATA', out: 'EREFUSED', server: ['10.96.0.10'] },
  )
  assert.match(seen.found, /^10\.96\./)
  const tcp = `const s = require('net').connect(53, '10.96.0.10'); s.on('data', (d) => { console.log(d.readUInt16BE(8)); s.destroy() })
    const name = ['web', 'default', 'svc', 'cluster', 'local'].map((l) => String.fromCharCode(l.length) + l).join('')
    const q = Buffer.concat([Buffer.from([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), Buffer.from(name), Buffer.from([0, 0, 1, 0, 1])])
    s.write(Buffer.concat([Buffer.from([0, q.length]), q])); await new Promise((r) => s.on('close', r))`
  assert.equal(await lab.js('client', tcp), '1')
})

test('readiness drives the endpoints of a service', async () => {
  const [pod] = await webPods()
  const name = pod?.metadata?.name ?? ''
  const readyAddresses = async (): Promise<string> => {
    const path =
      '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dweb'
    const { items } = await lab.api.get<{ items: V1EndpointSlice[] }>(path)
    const all = items.flatMap((slice) => slice.endpoints ?? []).filter((each) => each.conditions?.ready)
    return all
      .flatMap((each) => each.addresses)
      .toSorted()
      .join()
  }
  const both = await readyAddresses()
  assert.equal(both.split(',').length, 2)
  await lab.sh(name, 'touch /scratch/unready')
  await eventually(
    'one endpoint left',
    async () =>
      (await readyAddresses()) ===
      both
        .split(',')
        .filter((a) => a !== pod?.status?.podIP)
        .join(),
  )
  const seen = JSON.parse(await lab.js('client', askers('http://web', 20))) as object
  assert.ok(!Object.keys(seen).includes(name))
  await lab.sh(name, 'rm /scratch/unready')
  await eventually('both endpoints again', async () => (await readyAddresses()) === both)
})

test('exec passes standard output, the environment, mounts and the exit code', async () => {
  const result = await lab.sh(
    'client',
    'echo $GREETING $ADDRESS; cat /shared/file /etc/not/there/file.txt /tmp/file; hostname; exit 7',
  )
  const address = (await lab.pod('client')).status?.podIP ?? ''
  assert.equal(result.stdout, `hello ${address}\nmade by init\nfrom a config map\nmade by init\nclient\n`)
  assert.equal(result.code, 7)
  assert.match((await lab.sh('client', 'echo x >/etc/not/there/y')).stderr, /Read-only/)
  assert.equal(
    (await lab.run('exec', 'default/client', '-c', 'second', '--', 'sh', '-c', 'echo "[$GREETING]"')).stdout,
    '[]\n',
  )
  assert.ok(!existsSync('/etc/not'), 'the mount point was made on the machine itself')
})

test('a mistake in a command is one clear sentence', async () => {
  assert.match(
    (await lab.run('exec', 'client2', '--', 'true')).stderr,
    /^weft lab: there is no pod default\/client2\n$/,
  )
  assert.match(
    (await lab.run('exec', 'client', '-c', 'x', '--', 'true')).stderr,
    /^weft lab: pod client has no container x; it has main, second, init\n$/,
  )
  assert.match(
    (await lab.run('exec', '--node', 'node-9', '--', 'true')).stderr,
    /^weft lab: there is no node node-9; the lab has node-1, node-2\n$/,
  )
  assert.match((await lab.run('up')).stderr, /^weft lab: a lab runs in .* already: `weft lab down` ends it\n$/)
})

test('logs are read by the command and by the API alike', async () => {
  assert.equal((await lab.run('logs', 'client')).stdout.split('\n').toSorted().join(' ').trim(), 'loud up as hello')
  assert.equal((await lab.run('logs', 'client', '--tail', '1')).stdout.split('\n').length, 2)
  const response = await fetch(`${lab.url}${PODS}/client/log?container=main&timestamps=true`)
  assert.match(await response.text(), /^\d{4}-\d\d-\d\dT[\d:.]+Z /)
})

test('the API answers inside the cluster too', async () => {
  const code = `const r = await fetch('http://' + process.env.KUBERNETES_SERVICE_HOST + ':443/version'); console.log(r.status)`
  assert.equal(await lab.js('client', code), '200')
})

test('a container that fails is started again, later and later; one without an image says what to do', async () => {
  const pod = (name: string, spec: object): object => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec })
  await lab.api.create(
    PODS,
    pod('crash', { containers: [{ name: 'c', image: 'x', command: ['sh', '-c', 'echo tried; exit 3'] }] }),
  )
  await lab.api.create(PODS, pod('unknown', { containers: [{ name: 'c', image: 'nobody/has-this:1' }] }))
  const liveness = { exec: { command: ['false'] }, periodSeconds: 1, failureThreshold: 1, initialDelaySeconds: 1 }
  const sick = [{ name: 'c', image: 'x', command: ['sleep', '100'], livenessProbe: liveness }]
  await lab.api.create(PODS, pod('sick', { terminationGracePeriodSeconds: 1, containers: sick }))
  await lab.api.create(
    PODS,
    pod('once', { restartPolicy: 'Never', containers: [{ name: 'c', image: 'x', command: ['true'] }] }),
  )
  const crashed = await eventually('two restarts', async () => {
    const [status] = (await lab.pod('crash')).status?.containerStatuses ?? []
    return (status?.restartCount ?? 0) >= 2 && status?.state?.waiting !== undefined && status
  })
  assert.equal(crashed.state?.waiting?.reason, 'CrashLoopBackOff')
  assert.equal(crashed.lastState?.terminated?.exitCode, 3)
  assert.equal((await lab.run('logs', 'crash', '--previous')).stdout, 'tried\n')
  const unknown = (await lab.pod('unknown')).status?.containerStatuses?.[0]?.state?.waiting
  assert.equal(unknown?.reason, 'ErrImagePull')
  assert.match(unknown?.message ?? '', /nobody\/has-this:1.*lab\/images\.yaml/)
  await eventually(
    'a restart by the liveness probe',
    async () => ((await lab.pod('sick')).status?.containerStatuses?.[0]?.restartCount ?? 0) > 0,
  )
  const reasons = await eventsOf('sick')
  for (const reason of ['Unhealthy', 'Killing']) assert.ok(reasons.includes(reason), reason)
  assert.equal((await lab.pod('once')).status?.phase, 'Succeeded')
  for (const name of ['crash', 'unknown', 'sick', 'once']) await lab.api.remove(`${PODS}/${name}`)
  await eventually('all four gone', async () => (await lab.api.get<{ items: V1Pod[] }>(PODS)).items.length === 3)
})

test('a sidecar is up before the containers and ends after them; preStop comes before the signal', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-lab-order-'))
  try {
    const volumeMounts = [{ name: 'out', mountPath: '/out' }]
    const note = (up: string, end: string): string[] => {
      const script = `trap "echo ${end} >>/out/order; exit 0" TERM; echo ${up} >>/out/order; while :; do sleep 0.02; done`
      return ['sh', '-c', script]
    }
    const startupProbe = { exec: { command: ['test', '-e', '/out/order'] }, periodSeconds: 1 }
    const sidecar = { name: 'side', image: 'x', restartPolicy: 'Always', startupProbe }
    const lifecycle = { preStop: { exec: { command: ['sh', '-c', 'echo main told >>/out/order'] } } }
    await lab.api.create(PODS, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'parts' },
      spec: {
        terminationGracePeriodSeconds: 5,
        volumes: [{ name: 'out', hostPath: { path: folder } }],
        initContainers: [{ ...sidecar, command: note('side', 'side over'), volumeMounts }],
        containers: [{ name: 'main', image: 'x', command: note('main', 'main over'), volumeMounts, lifecycle }],
      },
    })
    const order = (): string => (existsSync(join(folder, 'order')) ? readFileSync(join(folder, 'order'), 'utf8') : '')
    await eventually('both up', () => Promise.resolve(order().split('\n').length === 3))
    await lab.api.remove(`${PODS}/parts`)
    await eventually('gone', () =>
      lab.pod('parts').then(
        () => false as const,
        () => true as const,
      ),
    )
    assert.match(order(), /^side\nmain\nmain told\nmain over\nside over\n$/)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('the end of a pod: signal, grace, and nothing of it is left', async () => {
  const pod = await lab.pod('client')
  const uid = pod.metadata?.uid ?? ''
  const node = pod.spec?.nodeName ?? ''
  const log = await fetch(`${lab.url}${PODS}/client/log?container=main&follow=true`)
  const follow = log.text()
  const beganMs = Date.now()
  await lab.api.remove(`${PODS}/client`)
  assert.notEqual((await lab.pod('client')).metadata?.deletionTimestamp, undefined)
  await eventually('the object gone', () =>
    lab.pod('client').then(
      () => false as const,
      () => true as const,
    ),
  )
  assert.ok(Date.now() - beganMs > 250, 'it was not given the time it asked for')
  assert.match(await follow, /got the signal/)
  assert.ok(!existsSync(`/run/netns/${podNetns(lab.place.id, uid)}`))
  assert.ok(!existsSync(join(lab.place.folder, 'pods', uid)))
  const links = await lab.run('exec', '--node', node, '--', 'ip', '-o', 'link')
  assert.ok(!links.stdout.includes(podLink(uid)))
  const groups = await lab.run('exec', '--node', node, '--', 'find', '/sys/fs/cgroup', '-name', `*${uid}*`)
  assert.equal(groups.stdout, '')
})

test('labs in other folders live beside it', async () => {
  const other = await TestLab.make()
  try {
    assert.match(await other.up('', '--nodes', '1'), /ready in/)
    assert.match((await other.run('status')).stdout, /1 nodes, 0 pods/)
    assert.match((await other.run('down')).stdout, /is gone/)
    assert.equal((await lab.run('status')).code, 0)
  } finally {
    await other.end()
  }
  assert.ok(readdirSync('/run/netns').includes(`weft-${lab.place.id}-node-1`))
})
