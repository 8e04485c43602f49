// The chart over many values: objects that Kubernetes takes, rights and folders that are no more than the mesh needs, values
// that are refused by name.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse, parseAllDocuments } from 'yaml'
import { AGENT_SETTINGS, CONTROLLER_SETTINGS } from '../../agent/config.ts'
import { AGENT_CAPABILITIES } from '../../agent/kernel/capabilities.ts'
import { AGENT_OWN, CONTROLLER_OWN, schemaText } from '../../charts/values.ts'
import { findHelm, NO_HELM } from '../helm.ts'
import { CHART, helm, one, type Order, render, type Rendered } from './helm.ts'
import { judge } from './objects.ts'

const skip = findHelm() === null ? NO_HELM : false
const textOf = (path: string): string => readFileSync(join(import.meta.dirname, '../..', path), 'utf8')
const containerOf = ({ spec }: Rendered): Rendered => spec.template.spec.containers[0]
const kindsOf = (objects: readonly Rendered[]): Set<string> => new Set(objects.map(({ kind }) => kind))
const agentOf = (objects: readonly Rendered[]): Rendered => one(objects, 'DaemonSet', 'weft-agent')

test('the chart passes helm’s own lint', { skip }, async () => {
  assert.match(await helm(['lint', '--strict', CHART]), /0 chart\(s\) failed/)
})

interface Row extends Order {
  /** What is special about it. */
  readonly check?: (objects: readonly Rendered[]) => void
}

const AFFINITY = {
  nodeAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: {
      nodeSelectorTerms: [{ matchExpressions: [{ key: 'mesh', operator: 'Exists' }] }],
    },
  },
}

const MATRIX: Record<string, Row> = {
  defaults: {
    check: (objects) => {
      const { rollingUpdate, type } = agentOf(objects).spec.updateStrategy
      assert.deepEqual([type, rollingUpdate], ['RollingUpdate', { maxSurge: 1, maxUnavailable: 0 }])
      const { hostNetwork, hostPID, dnsPolicy, priorityClassName } = agentOf(objects).spec.template.spec
      assert.deepEqual(
        [hostNetwork, hostPID, dnsPolicy, priorityClassName],
        [true, true, 'ClusterFirstWithHostNet', 'system-node-critical'],
      )
      assert.deepEqual(parse(one(objects, 'ConfigMap', 'weft').data.mesh), {})
      assert.equal(one(objects, 'Deployment', 'weft-controller').spec.replicas, 2)
      assert.equal(containerOf(agentOf(objects)).image, 'weft:0.1.0')
      const { nodeAffinity } = agentOf(objects).spec.template.spec.affinity
      const [{ matchExpressions }] = nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms
      assert.deepEqual(
        matchExpressions.map(({ operator, values: [value] }: Rendered) => [operator, value]),
        [
          ['NotIn', 'fargate'],
          ['NotIn', 'virtual-kubelet'],
        ],
      )
    },
  },
  'without the plug-in': {
    values: { 'agent.cni.enabled': false },
    check: (objects) => {
      const { args, volumeMounts } = containerOf(agentOf(objects))
      assert.ok(![...args, ...volumeMounts.map((mount: Rendered) => mount.name)].join().includes('cni'))
    },
  },
  'the plug-in in other folders': {
    values: { 'agent.cni.binDir': '/home/kubernetes/bin', 'agent.cni.confDir': '/var/lib/x/net.d' },
    check: (objects) => {
      const paths = agentOf(objects).spec.template.spec.volumes.map((volume: Rendered) => volume.hostPath?.path)
      assert.ok(paths.includes('/home/kubernetes/bin') && paths.includes('/var/lib/x/net.d'))
      assert.ok(containerOf(agentOf(objects)).args.includes('--cni-bin-dir=/host/opt/cni/bin'))
    },
  },
  'no definitions for networking': {
    values: { 'crds.istio.networking': false },
    check: (objects) => {
      const defined = objects.filter(({ kind }) => kind === 'CustomResourceDefinition').map(({ spec }) => spec.group)
      assert.deepEqual([...new Set(defined)], ['security.istio.io'])
    },
  },
  'no definitions at all': {
    values: { 'crds.istio': { networking: false, security: false } },
    check: (objects) => assert.ok(!kindsOf(objects).has('CustomResourceDefinition')),
  },
  'definitions that go along': { values: { 'crds.keep': false } },
  'all of monitoring': {
    values: {
      monitoring: { podMonitor: { enabled: true }, rules: { enabled: true }, dashboard: { enabled: true } },
    },
    more: ['--api-versions', 'monitoring.coreos.com/v1'],
  },
  'no annotations to scrape by': {
    values: { 'monitoring.scrapeAnnotations': false },
    check: (objects) => {
      for (const { metadata } of [agentOf(objects), one(objects, 'Deployment', 'weft-controller')].map(
        ({ spec }) => spec.template,
      ))
        assert.ok(!Object.keys(metadata.annotations).some((name) => name.startsWith('prometheus.io/')))
    },
  },
  'where its pods run': {
    values: {
      agent: {
        ...{ tolerations: [{ key: 'x', operator: 'Equal', value: 'y', effect: 'NoSchedule' }], affinity: AFFINITY },
        ...{ priorityClassName: 'mine', nodeSelector: { zone: 'a' }, criticalQuota: { enabled: true, pods: 10 } },
      },
      controller: { affinity: AFFINITY, tolerations: [{ operator: 'Exists' }], priorityClassName: '' },
    },
    check: (objects) => {
      const { tolerations, affinity, priorityClassName } = agentOf(objects).spec.template.spec
      assert.deepEqual([tolerations[0].key, affinity, priorityClassName], ['x', AFFINITY, 'mine'])
      const controller = one(objects, 'Deployment', 'weft-controller').spec.template.spec
      assert.deepEqual([controller.affinity, controller.priorityClassName], [AFFINITY, undefined])
      const quota = one(objects, 'ResourceQuota', 'weft-critical-pods')
      assert.deepEqual(quota.spec.scopeSelector.matchExpressions[0].values, ['mine'])
    },
  },
  'certificates of clients': {
    values: {
      'agent.clientTls': { secretName: 'client', items: [{ key: 'a', path: 'shop/a.crt' }] },
      'agent.credentials': { shop: ['billing-tls', 'billing-tls-cacert'], bank: ['b'] },
    },
    check: (objects) => {
      const mount = containerOf(agentOf(objects)).volumeMounts.find(({ name }: Rendered) => name === 'client-tls')
      assert.equal(mount.mountPath, AGENT_SETTINGS['client-tls-root'].default)
      const roles = objects.filter(({ kind, metadata }) => kind === 'Role' && metadata.name === 'weft-credentials')
      assert.deepEqual(
        roles.map(({ metadata, rules }) => [metadata.namespace, rules[0].resourceNames, rules[0].verbs]),
        [
          ['bank', ['b'], ['list', 'watch']],
          ['shop', ['billing-tls', 'billing-tls-cacert'], ['list', 'watch']],
        ],
      )
    },
  },
  'other namespaces': {
    namespace: 'mesh',
    values: { 'rootNamespace.name': 'mesh-policies' },
    check: (objects) => {
      for (const { metadata } of objects) assert.ok(['mesh', 'mesh-policies', undefined].includes(metadata.namespace))
      assert.equal(one(objects, 'Namespace', 'mesh-policies').metadata.annotations['helm.sh/resource-policy'], 'keep')
      for (const workload of [agentOf(objects), one(objects, 'Deployment', 'weft-controller')])
        assert.ok(containerOf(workload).args.includes('--root-namespace=mesh-policies'))
      assert.ok(!JSON.stringify(objects).includes('weft-system'))
      assert.ok(!JSON.stringify(objects).includes('istio-system'))
    },
  },
  'policies beside the mesh itself': {
    values: { 'rootNamespace.name': 'weft-system' },
    check: (objects) => assert.ok(!kindsOf(objects).has('Namespace')),
  },
  'a root namespace that is there': {
    values: { 'rootNamespace.create': false },
    check: (objects) => assert.ok(!kindsOf(objects).has('Namespace')),
  },
  settings: {
    values: {
      'agent.settings': {
        'drain-seconds': 120,
        'breaker-endpoints': 1_048_576,
        'access-log': false,
        'log-level': 'warn',
      },
      'controller.settings': { 'lease-seconds': 30, 'admin-port': 16021 },
      mesh: { outboundTrafficPolicy: { mode: 'REGISTRY_ONLY' }, trustDomainAliases: ['old'] },
    },
    check: (objects) => {
      const { args } = containerOf(agentOf(objects))
      for (const flag of ['drain-seconds=120', 'breaker-endpoints=1048576', 'access-log=false', 'log-level=warn'])
        assert.ok(args.includes(`--${flag}`), flag)
      assert.equal(agentOf(objects).spec.template.spec.terminationGracePeriodSeconds, 150)
      const { readinessProbe, args: own } = containerOf(one(objects, 'Deployment', 'weft-controller'))
      assert.deepEqual([readinessProbe.httpGet.port, own.includes('--admin-port=16021')], [16021, true])
      const { mesh } = one(objects, 'ConfigMap', 'weft').data
      assert.deepEqual(parse(mesh), { outboundTrafficPolicy: { mode: 'REGISTRY_ONLY' }, trustDomainAliases: ['old'] })
    },
  },
  'agents that drain for long, and a hook that waits for them': {
    values: { 'agent.settings.drain-seconds': 600 },
    check: (objects) => {
      const job = one(objects, 'Job', 'weft-uninstall')
      assert.ok(containerOf(job).args.includes('--timeout-seconds=660'))
      assert.equal(job.spec.activeDeadlineSeconds, 720)
    },
  },
  'on OpenShift': {
    values: { 'openShift.enabled': true, 'agent.seLinuxOptions': { type: 'spc_t' } },
    check: (objects) => {
      const accountsOf = (name: string): [string, string[]] => {
        const { roleRef, subjects } = one(objects, 'RoleBinding', name)
        return [roleRef.name, subjects.map((subject: Rendered) => subject.name)]
      }
      assert.deepEqual(accountsOf('weft-agent-scc'), ['system:openshift:scc:privileged', ['weft-agent']])
      assert.deepEqual(accountsOf('weft-controller-scc'), [
        'system:openshift:scc:nonroot-v2',
        ['weft-controller', 'weft-uninstall'],
      ])
    },
  },
  'a page on loopback alone': {
    values: { 'agent.settings': { 'admin-address': '127.0.0.1' } },
    check: (objects) =>
      assert.deepEqual(containerOf(agentOf(objects)).readinessProbe.httpGet, {
        ...{ path: '/readyz', port: 15020, host: '127.0.0.1' },
      }),
  },
  'an image elsewhere': {
    values: {
      image: { repository: 'registry.example.com/mesh/weft', tag: 'v9', pullPolicy: 'Always', pullSecrets: ['pull'] },
    },
    check: (objects) => {
      for (const object of objects.filter(({ spec }) => spec?.template !== undefined)) {
        const { image, imagePullPolicy, command } = containerOf(object)
        assert.deepEqual([image, imagePullPolicy, command], ['registry.example.com/mesh/weft:v9', 'Always', undefined])
        assert.deepEqual(object.spec.template.spec.imagePullSecrets, [{ name: 'pull' }])
      }
    },
  },
  'an image by its digest': {
    values: { 'image.digest': `sha256:${'0a'.repeat(32)}`, 'image.tag': 'v9' },
    check: (objects) => {
      for (const object of objects.filter(({ spec }) => spec?.template !== undefined))
        assert.equal(containerOf(object).image, `weft@sha256:${'0a'.repeat(32)}`)
    },
  },
  'words of their own': {
    values: {
      labels: { team: 'net' },
      agent: { podLabels: { a: 'b' }, podAnnotations: { c: 'd' }, env: [{ name: 'TZ', value: 'UTC' }] },
      controller: { podLabels: { a: 'b', app: 'mine' }, serviceAccountAnnotations: { e: 'f' } },
    },
    check: (objects) => {
      const { labels, annotations } = agentOf(objects).spec.template.metadata
      assert.deepEqual([labels.a, labels.app, annotations.c], ['b', 'weft-agent', 'd'])
      assert.ok(objects.every(({ metadata }) => metadata.labels.team === 'net'))
    },
  },
  'on nodes with SELinux, no profile of AppArmor': {
    values: { 'agent.seLinuxOptions': { type: 'spc_t' }, 'agent.appArmorProfile': null, 'agent.seccompProfile': null },
    check: (objects) => {
      const { seLinuxOptions, appArmorProfile, seccompProfile } = containerOf(agentOf(objects)).securityContext
      assert.deepEqual([seLinuxOptions, appArmorProfile, seccompProfile], [{ type: 'spc_t' }, undefined, undefined])
    },
  },
  'no policies of admission, no hook, no budget': {
    values: {
      admission: { enabled: false },
      uninstall: { enabled: false },
      'controller.podDisruptionBudget.enabled': false,
    },
    check: (objects) => {
      const kinds = kindsOf(objects)
      for (const kind of ['ValidatingAdmissionPolicy', 'Job', 'PodDisruptionBudget']) assert.ok(!kinds.has(kind), kind)
    },
  },
  'readers, and an authority that stays': {
    values: {
      readers: [
        { kind: 'Group', name: 'ops' },
        { kind: 'ServiceAccount', name: 'bot', namespace: 'ci' },
      ],
      uninstall: { keepRoot: true },
    },
    check: (objects) => {
      const { subjects } = one(objects, 'ClusterRoleBinding', 'weft-reader')
      assert.deepEqual(subjects, [
        { kind: 'Group', name: 'ops', apiGroup: 'rbac.authorization.k8s.io' },
        { kind: 'ServiceAccount', name: 'bot', namespace: 'ci' },
      ])
      assert.ok(containerOf(one(objects, 'Job', 'weft-uninstall')).args.includes('--keep-root'))
      assert.ok(!JSON.stringify(one(objects, 'Role', 'weft-uninstall').rules).includes('secrets'))
    },
  },
}
for (const [name, { check, ...order }] of Object.entries(MATRIX)) {
  test(`Kubernetes takes what the chart makes: ${name}`, { skip }, async () => {
    const objects = await render(order)
    judge(objects)
    check?.(objects)
  })
}

const WRONG: Record<string, readonly [values: object, said: RegExp]> = {
  'a value that is not known': [{ 'agent.tolerance': [] }, /'\/agent': additional properties 'tolerance'/],
  'a setting that is not known': [{ 'agent.settings.drain': 5 }, /'\/agent\/settings': additional properties 'drain'/],
  'a setting that the chart sets': [
    { 'agent.settings.node': 'x' },
    /'\/agent\/settings': additional properties 'node'/,
  ],
  'a number as text': [{ 'agent.settings.drain-seconds': '60' }, /'\/agent\/settings\/drain-seconds': got string/],
  'a number out of range': [{ 'agent.settings.workers': 99 }, /'\/agent\/settings\/workers': maximum/],
  'a part of a number': [{ 'controller.replicas': 1.5 }, /'\/controller\/replicas'/],
  'one of several that is none': [{ 'agent.settings.transport': 'rust' }, /'\/agent\/settings\/transport'/],
  'a folder that is no path': [{ 'agent.cni.binDir': 'opt' }, /'\/agent\/cni\/binDir'/],
  'settings of the mesh as text': [{ mesh: 'x' }, /'\/mesh': got string/],
  'root as the controller’s user': [{ 'controller.runAsUser': 0 }, /'\/controller\/runAsUser': minimum/],
  'an update without a second agent': [{ 'agent.maxSurge': 0 }, /'\/agent\/maxSurge'/],
  'a digest that is none': [{ 'image.digest': 'latest' }, /'\/image\/digest'/],
  'an image without a name': [{ 'image.repository': '' }, /'\/image\/repository'/],
  'a reader that is nobody': [{ readers: [{ kind: 'Dog', name: 'x' }] }, /'\/readers\/0\/kind'/],
  'a reader without a namespace': [
    { readers: [{ kind: 'ServiceAccount', name: 'x' }] },
    /ServiceAccount has a namespace/,
  ],
  'a namespace without credentials': [{ 'agent.credentials': { shop: [] } }, /'\/agent\/credentials\/shop'/],
}
for (const [what, [values, said]] of Object.entries(WRONG)) {
  test(`refused by its path: ${what}`, { skip }, async () => {
    // --readers is there only where the template is reached
    await assert.rejects(render({ values }), said)
  })
}

test('Kubernetes before 1.30 is refused', { skip }, async () => {
  await assert.rejects(render({ more: ['--kube-version', '1.29.9'] }), /incompatible/)
  await render({ more: ['--kube-version', 'v1.30.1-gke.100'] })
})

test('the schema of the values is what the tables of settings say', () => {
  assert.equal(textOf('charts/weft/values.schema.json'), schemaText(), 'node charts/values.ts writes it anew')
})

test('every value that the schema knows stands in values.yaml, but settings', () => {
  const values = parse(textOf('charts/weft/values.yaml'))
  const missing: string[] = []
  const look = (schema: Rendered, value: unknown, path: string): void => {
    for (const [name, inner] of Object.entries<Rendered>(schema.properties ?? {})) {
      const at = `${path}.${name}`
      if (
        /\.(settings|global|(limits|requests|claims)|localhostProfile|level|role|user|type|(node|pod|podAnti)Affinity)$/.test(
          at,
        )
      )
        continue
      const given = (value as Record<string, unknown> | undefined)?.[name]
      if (given === undefined) missing.push(at)
      else look(inner, given, at)
    }
  }
  look(JSON.parse(schemaText()), values, '')
  assert.deepEqual(missing, [])
})

test('the chart’s version is the package’s', () => {
  const { version, appVersion } = parse(textOf('charts/weft/Chart.yaml'))
  const wanted = JSON.parse(textOf('package.json')).version
  assert.deepEqual([version, appVersion], [wanted, wanted])
})

/** Settings that the room of the plug-in brings. */
const CNI = ['cni', 'cni-bin-dir', 'cni-conf-dir', 'cni-state-dir']

test('each flag is a setting, and each setting that the chart keeps to itself is one', { skip }, async () => {
  const objects = await render({ values: { 'agent.settings.workers': 2, 'controller.settings.retry-ms': 1000 } })
  const flagsOf = (object: Rendered): string[] =>
    containerOf(object)
      .args.slice(1)
      .map((arg: string) => /^--([\w-]+)(=|$)/.exec(arg)?.[1])
  const agent = [...Object.keys(AGENT_SETTINGS), ...CNI]
  for (const flag of flagsOf(agentOf(objects))) assert.ok(agent.includes(flag), flag)
  const controller = Object.keys(CONTROLLER_SETTINGS)
  for (const flag of flagsOf(one(objects, 'Deployment', 'weft-controller'))) assert.ok(controller.includes(flag), flag)
  assert.deepEqual(
    [AGENT_OWN.filter((name) => !agent.includes(name)), CONTROLLER_OWN.filter((name) => !controller.includes(name))],
    [[], []],
  )
  const { args } = containerOf(one(objects, 'Job', 'weft-uninstall'))
  assert.deepEqual(args, ['uninstall', '--weft-namespace=$(POD_NAMESPACE)', '--timeout-seconds=240'])
})

test('an agent may do what it needs and no more', { skip }, async () => {
  const { securityContext, volumeMounts } = containerOf(agentOf(await render()))
  assert.deepEqual(
    securityContext.capabilities.add.map((name: string) => `CAP_${name}`),
    AGENT_CAPABILITIES.map(({ name }) => name),
  )
  assert.equal(securityContext.runAsUser, 0)
  assert.deepEqual(
    volumeMounts.map(({ mountPath, readOnly = false }: Rendered) => [mountPath, readOnly]),
    [
      ['/host/sys/fs/cgroup', true],
      ['/sys/fs/bpf', false],
      ['/run/weft', false],
      ['/var/lib/weft', false],
      ['/host/opt/cni/bin', false],
      ['/host/etc/cni/net.d', false],
      ['/tmp', false],
    ],
  )
})

test('a controller and the hook are nobody on their nodes', { skip }, async () => {
  const objects = await render()
  for (const object of [one(objects, 'Deployment', 'weft-controller'), one(objects, 'Job', 'weft-uninstall')]) {
    const { securityContext, hostNetwork, hostPID, volumes } = object.spec.template.spec
    assert.equal(securityContext.runAsNonRoot, true)
    assert.deepEqual([hostNetwork, hostPID, volumes], [undefined, undefined, undefined])
  }
})

/** What a right is: where, and the rules; or who is bound to what. */
function rightOf({ kind, metadata, rules, roleRef, subjects }: Rendered): [string, unknown] {
  return [`${kind} ${metadata.namespace ?? ''}/${metadata.name}`, rules ?? { roleRef, subjects }]
}

test('the rights are those that every lab enforces, rule by rule', { skip }, async () => {
  const isRight = ({ kind }: Rendered): boolean => /Role(Binding)?$/.test(kind)
  const lab = parseAllDocuments(textOf('lab/mesh/rights.yaml'))
    .map((document) => document.toJS())
    .filter(isRight)
  const rendered = new Map((await render()).filter(isRight).map(rightOf))
  for (const [name, right] of lab.map(rightOf)) {
    assert.deepEqual(rendered.get(name), right, name)
    rendered.delete(name)
  }
  assert.deepEqual([...rendered.keys()].sort(), [
    'ClusterRole /weft-reader',
    'Role weft-system/weft-reader',
    'Role weft-system/weft-uninstall',
    'RoleBinding weft-system/weft-uninstall',
  ])
})

test('the hook is there before what it takes away goes, and leaves nothing', { skip }, async () => {
  const hooks = (await render()).filter(({ metadata }) => metadata.annotations?.['helm.sh/hook'] !== undefined)
  const weightOf = ({ metadata }: Rendered): number => Number(metadata.annotations['helm.sh/hook-weight'])
  const inOrder = hooks.sort((a, b) => weightOf(a) - weightOf(b))
  assert.deepEqual(
    inOrder.map(({ kind }) => kind),
    ['ServiceAccount', 'Role', 'RoleBinding', 'Job'],
  )
  for (const { metadata } of hooks) {
    assert.equal(metadata.annotations['helm.sh/hook'], 'pre-delete')
    assert.equal(metadata.annotations['helm.sh/hook-delete-policy'], 'before-hook-creation,hook-succeeded')
  }
})

test('what a reader gets is what docs/admin.md says that it takes', { skip }, async () => {
  const objects = await render()
  const [, block = ''] = /What it takes:\n\n((?: {4}.*\n)+)/.exec(textOf('docs/admin.md')) ?? []
  const said = parse(block.replace(/^ {4}/gm, ''))
  const flat = (rules: Rendered[]): Set<string> =>
    new Set(
      rules.flatMap(({ apiGroups, resources, verbs }) =>
        resources.flatMap((resource: string) => verbs.map((verb: string) => `${apiGroups[0]} ${resource} ${verb}`)),
      ),
    )
  const given = flat([
    ...one(objects, 'ClusterRole', 'weft-reader').rules,
    ...one(objects, 'Role', 'weft-reader').rules,
  ])
  for (const right of flat(said)) assert.ok(given.has(right), right)
  given.delete('weft.dev controllers/status get')
  assert.deepEqual(given, flat(said))
})

test('an installation ends with what to do next', { skip }, async () => {
  const text = await helm(['install', 'weft', CHART, '--namespace', 'weft-system', '--dry-run=client'])
  const notes = text.slice(text.indexOf('NOTES:'))
  for (const said of [/weft\.dev\/mesh=enabled/, /npx weft status/, /kind: PeerAuthentication/, /enforce=privileged/])
    assert.match(notes, said)
})
