import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KubeError, type KubeClient } from '../kube/client.ts'
import { depart, type Departure } from './uninstall.ts'

const DEPARTURE: Departure = {
  namespace: 'weft-system',
  daemonSet: 'weft-agent',
  deployment: 'weft-controller',
  keepsRoot: false,
  timeoutMs: 50,
}

/** A cluster whose workloads take their pods with them, `lists` lists later. */
class Cluster implements Pick<KubeClient, 'list' | 'remove'> {
  readonly removed: string[] = []
  readonly #pods: Map<string, string[]>
  readonly #lists: number
  #seen = 0

  constructor(pods: Readonly<Record<string, string[]>>, lists = 0) {
    this.#pods = new Map(Object.entries(pods))
    this.#lists = lists
  }

  list(_path: string, { labelSelector = '' }: Record<string, string>) {
    const app = labelSelector.replace('app=', '')
    const isGone = this.removed.some((path) => path.endsWith(`/${app}`)) && this.#seen++ >= this.#lists
    const names = isGone ? [] : (this.#pods.get(app) ?? [])
    const items = names.map((name) => ({ metadata: { name, uid: name, resourceVersion: '1' } }))
    return Promise.resolve({ resourceVersion: '1', items })
  }

  remove(path: string): Promise<unknown> {
    this.removed.push(path)
    return Promise.resolve({})
  }
}

const told = async (cluster: Cluster, departure: Partial<Departure> = {}): Promise<[boolean, string[]]> => {
  const lines: string[] = []
  const isGone = await depart(cluster, { ...DEPARTURE, ...departure }, (line) => lines.push(line))
  return [isGone, lines]
}
const lastPart = (path: string): string => path.slice(path.lastIndexOf('/') + 1)

test('agents go before the controller, and that before what both have made', async () => {
  const cluster = new Cluster({ 'weft-agent': ['a', 'b'], 'weft-controller': ['c'] })
  const [isGone] = await told(cluster)
  assert.ok(isGone)
  const order = ['weft-agent', 'weft-controller', 'weft-roots', 'weft-controller', 'weft-root']
  assert.deepEqual(cluster.removed.map(lastPart), order)
})

test('agents that do not end keep the controller where it is: it signs for them', async () => {
  const cluster = new Cluster({ 'weft-agent': ['a', 'b'] }, Infinity)
  const [isGone, lines] = await told(cluster)
  assert.equal(isGone, false)
  assert.deepEqual(cluster.removed.map(lastPart), ['weft-agent'])
  assert.match(lines.join('\n'), /2 agents have not ended: a, b/)
})

test('an authority that is to be kept is not removed', async () => {
  const cluster = new Cluster({})
  await told(cluster, { keepsRoot: true })
  assert.ok(!cluster.removed.map(lastPart).includes('weft-root'))
})

test('what is gone already is no error, what is refused is', async () => {
  const answers = (status: number) => {
    const cluster = new Cluster({})
    cluster.remove = () => Promise.reject(new KubeError(status, 'no'))
    return told(cluster)
  }
  assert.equal((await answers(404))[0], true)
  await assert.rejects(answers(403), KubeError)
})
