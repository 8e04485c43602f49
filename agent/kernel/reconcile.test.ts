import assert from 'node:assert/strict'
import { fstatSync, openSync } from 'node:fs'
import test from 'node:test'
import { PLAIN_TERMS } from '../model/terms.ts'
import type { Found } from './discover.ts'
import { FakeKernel } from './fake.ts'
import { type Captured, KernelError, type PodSource } from './kernel.ts'
import { plan, reconcile, type Wanted, type Wish } from './reconcile.ts'

const captured = (uid: string, ip: string): Captured => ({
  uid,
  ips: [ip],
  cookie: '1',
  netns: 5,
  listeners: [
    { direction: 'outbound', ip: '127.0.0.1', fd: 6, port: 15001, socket: '1' },
    { direction: 'inbound', ip: '127.0.0.1', fd: 7, port: 15006, socket: '1' },
  ],
})
const at = (netns: number): Found => ({ found: true, netns, pid: 1 })
const lost = (why: string): Found => ({ found: false, why })
const want = (uid: string, ip: string): Wanted => ({ uid, ips: [ip], terms: PLAIN_TERMS })

/** A wish in which nothing leaves and nobody else is on the node, unless said. */
function wish(wanted: readonly Wanted[], more: Partial<Wish> = {}): Wish {
  return { wanted, announced: new Set(), leaving: new Set(), others: [], ...more }
}

/** Pods that are captured, and those that are refused until they are. */
function ofKernel(captures: readonly Captured[], blocked: readonly string[] = []) {
  const all = new Map(captures.map((pod) => [pod.uid, pod]))
  return { captured: all, held: [...all.keys(), ...blocked] }
}

test('what is no longer wanted is released, what is wanted and found is captured', () => {
  const b = want('b', '10.0.0.2')
  const todo = plan(wish([b]), ofKernel([captured('a', '10.0.0.1')]), new Map([['b', at(9)]]))
  assert.deepEqual(todo.release, ['a'])
  assert.deepEqual(todo.loosen, [])
  assert.deepEqual(todo.capture, [{ ...b, netns: 9 }])
  assert.equal(todo.waiting.size, 0)
})

test('what leaves is loosened and not released, and only where it is captured', () => {
  const held = ofKernel(['a', 'b', 'c'].map((uid) => captured(uid, '10.0.0.1')))
  const todo = plan(wish([want('c', '10.0.0.3')], { leaving: new Set(['a', 'c', 'd']) }), held, new Map())
  assert.deepEqual(todo.loosen, ['a']) // and not c, which is wanted again
  assert.deepEqual(todo.release, ['b'])
})

test('a fail-closed pod whose capture failed is let go when it leaves', () => {
  const todo = plan(wish([]), ofKernel([], ['a']), new Map())
  assert.deepEqual(todo.release, ['a'])
})

test('a pod whose addresses or terms changed is captured once more, without a release before', () => {
  const now: Wanted = { uid: 'a', ips: ['10.0.0.9', 'fd00::9'], terms: { ...PLAIN_TERMS, onLoss: 'closed' } }
  const todo = plan(wish([now]), ofKernel([captured('a', '10.0.0.1')]), new Map([['a', at(9)]]))
  assert.deepEqual([todo.loosen, todo.release], [[], []])
  assert.deepEqual(todo.capture, [{ ...now, netns: 9 }])
})

test('a captured pod without a process stays captured, one that never had any waits with the reason', () => {
  const wanted = [want('a', '10.0.0.1'), want('b', '10.0.0.2'), want('c', '10.0.0.3')]
  const found = new Map([
    ['a', lost('no process')],
    ['b', lost('no process')],
  ])
  const todo = plan(wish(wanted), ofKernel([captured('a', '10.0.0.1')]), found)
  assert.deepEqual([todo.release, todo.loosen, todo.capture], [[], [], []])
  assert.deepEqual(
    [...todo.waiting],
    [
      ['b', 'no process'],
      ['c', 'not looked for yet'],
    ],
  )
})

/** Finds that open a real fd for each pod, as findPods does. */
class Finder {
  readonly asked: (readonly string[])[] = []
  readonly fds: number[] = []
  readonly #absent: ReadonlySet<string>

  constructor(...absent: string[]) {
    this.#absent = new Set(absent)
  }

  readonly find = (uids: readonly string[]): Map<string, Found> => {
    this.asked.push(uids)
    return new Map(uids.map((uid) => [uid, this.#absent.has(uid) ? lost('no process') : at(this.#open())]))
  }

  /** Throws where one of the fds that were given away is still open. */
  assertClosed(): void {
    for (const fd of this.fds) assert.throws(() => fstatSync(fd), { code: 'EBADF' }, `fd ${fd} is open`)
  }

  #open(): number {
    const fd = openSync('/dev/null', 'r')
    this.fds.push(fd)
    return fd
  }
}

/** The fake, telling what was asked of it; with captures that an earlier agent has left, by the pods' uid. */
class HeirKernel extends FakeKernel {
  readonly deeds: string[] = []
  readonly #left: string[]
  readonly #finder: Finder

  constructor(finder: Finder, ...left: string[]) {
    super()
    this.#finder = finder
    this.#left = left
  }

  override capture(pod: PodSource): Captured {
    this.deeds.push(`capture ${pod.uid}`)
    return super.capture(pod)
  }

  override loosen(uid: string): void {
    this.deeds.push(`loosen ${uid}`)
    super.loosen(uid)
  }

  override release(uid: string): void {
    this.deeds.push(`release ${uid}`)
    super.release(uid)
  }

  override inherited(): readonly string[] {
    return this.#left.map((uid) => `cookie of ${uid}`)
  }

  /** The finder's last answer says whose namespace an fd stands for. */
  override cookieOf(netns = -1): string {
    fstatSync(netns) // throws where it is closed already
    const uids = this.#finder.asked.at(-1) ?? []
    return `cookie of ${uids[this.#finder.fds.slice(-uids.length).indexOf(netns)]}`
  }

  override disinherit(cookie = ''): void {
    this.deeds.push(`disinherit ${cookie}`)
  }
}

/** A kernel for one test, and its finder. */
function setUp(t: { after(end: () => void): void }, ...left: string[]) {
  const finder = new Finder()
  const kernel = new HeirKernel(finder, ...left)
  t.after(() => kernel.close())
  return { kernel, finder }
}

const [A, B] = [want('a', '127.40.0.1'), want('b', '127.40.0.2')]

test('reconciling twice changes nothing the second time, and no fd of the search stays open', async (t) => {
  const { kernel, finder } = setUp(t)
  const first = await reconcile(kernel, wish([A, B]), finder.find)
  const second = await reconcile(kernel, wish([A, B]), finder.find)
  assert.deepEqual(second, first)
  assert.ok([...first.values()].every((standing) => standing.captured))
  assert.equal(finder.fds.length, 4)
  finder.assertClosed()
  await reconcile(kernel, wish([]), finder.find)
  assert.equal(kernel.captured().size, 0)
})

test('a captured pod is shown to be captured still each time, and stands so where it cannot be found', async (t) => {
  const { kernel, finder } = setUp(t)
  const first = await reconcile(kernel, wish([A]), finder.find)
  await reconcile(kernel, wish([A]), finder.find)
  assert.deepEqual(kernel.deeds, ['capture a', 'capture a'])
  const third = await reconcile(kernel, wish([A]), new Finder('a').find)
  assert.deepEqual(third.get('a'), first.get('a'))
  assert.equal(kernel.deeds.length, 2)
})

test('what leaves is loosened, stands for nothing, and is released once it is through', async (t) => {
  const { kernel, finder } = setUp(t)
  await reconcile(kernel, wish([A, B]), finder.find)
  kernel.deeds.length = 0
  const leaving = await reconcile(kernel, wish([B], { leaving: new Set(['a']), others: ['a'] }), finder.find)
  assert.deepEqual(kernel.deeds, ['loosen a', 'capture b'])
  assert.deepEqual([...leaving.keys()], ['b'])
  assert.ok(kernel.captured().has('a'))
  await reconcile(kernel, wish([B], { others: ['a'] }), finder.find)
  assert.deepEqual(kernel.deeds.slice(2), ['release a', 'capture b'])
})

test('what an earlier agent captured of others on the node is let go, of nobody else', async (t) => {
  const { kernel, finder } = setUp(t, 'a', 'left', 'gone')
  await reconcile(kernel, wish([A], { others: ['left', 'stranger'] }), finder.find)
  assert.deepEqual(kernel.deeds, ['disinherit cookie of left', 'capture a'])
  finder.assertClosed()
})

test('an inherited capture stays while the pod that it may be of cannot be found', async (t) => {
  const { kernel } = setUp(t, 'left')
  await reconcile(kernel, wish([], { others: ['left'] }), new Finder('left').find)
  assert.deepEqual(kernel.deeds, [])
})

test('others are looked for only where something is inherited', async (t) => {
  const plain = setUp(t)
  await reconcile(plain.kernel, wish([A], { others: ['x', 'y'] }), plain.finder.find)
  assert.deepEqual(plain.finder.asked, [['a']])
  const heir = setUp(t, 'z')
  await reconcile(heir.kernel, wish([A], { others: ['x', 'y'] }), heir.finder.find)
  assert.deepEqual(heir.finder.asked, [['a', 'x', 'y']])
})

test('a pod that the kernel refuses stands as such and holds up no other', async (t) => {
  const { kernel, finder } = setUp(t)
  const capture = kernel.capture.bind(kernel)
  kernel.capture = (pod) => {
    if (pod.uid === 'bad') throw new KernelError('EADDRNOTAVAIL', 'capture bad')
    return capture(pod)
  }
  const standings = await reconcile(kernel, wish([want('bad', '10.0.0.1'), A]), finder.find)
  assert.deepEqual(standings.get('bad'), { captured: false, why: 'capture bad: EADDRNOTAVAIL' })
  assert.equal(standings.get('a')?.captured, true)
  finder.assertClosed()
})

test('no fd of the search stays open where the kernel fails altogether', async (t) => {
  const { kernel, finder } = setUp(t)
  kernel.captured = () => {
    throw new KernelError('EMFILE', 'read the captured pods')
  }
  await assert.rejects(reconcile(kernel, wish([A, B]), finder.find), KernelError)
  assert.equal(finder.fds.length, 2)
  finder.assertClosed()
})

test('between two captures the event loop turns', async (t) => {
  const { kernel, finder } = setUp(t)
  let turns = 0
  const seen: number[] = []
  const capture = kernel.capture.bind(kernel)
  kernel.capture = (pod) => {
    seen.push(turns)
    return capture(pod)
  }
  const turn = (): void => {
    turns++
    next = setImmediate(turn)
  }
  let next = setImmediate(turn)
  await reconcile(kernel, wish([A, B, want('c', '127.40.0.3')]), finder.find)
  clearImmediate(next)
  assert.equal(new Set(seen).size, 3, `captured at turns ${seen.join()}`)
})
