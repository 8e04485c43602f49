import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judge, type Judgement, type RunningPod, type SigningRequest } from './judge.ts'

const AGENT = 'system:serviceaccount:weft-system:weft-agent'
const CART = 'spiffe://cluster.local/ns/shop/sa/cart'
const pod = (name: string, given: Partial<RunningPod> = {}): RunningPod => ({
  uid: `uid-${name}`,
  name,
  namespace: 'shop',
  serviceAccount: name,
  node: 'one',
  terminal: false,
  ...given,
})
const PODS = [
  pod('cart'),
  pod('stock', { node: 'two' }),
  pod('ended', { terminal: true }),
  pod('agent-one', { namespace: 'weft-system', serviceAccount: 'weft-agent' }),
  pod('agent-two', { namespace: 'weft-system', serviceAccount: 'weft-agent', node: 'two' }),
  pod('agent-three', { namespace: 'weft-system', serviceAccount: 'weft-agent', node: null }),
  pod('waiting', { node: null }),
]

interface Wish {
  readonly username?: string
  readonly uris?: readonly string[]
  readonly request?: object
  readonly usages?: readonly string[]
  readonly seconds?: number
  /** Claims of the token, without what all of them begin with. */
  readonly claims?: Readonly<Record<string, readonly string[]>>
}

const boundTo = (name: string, uid = `uid-${name}`) => ({ 'pod-name': [name], 'pod-uid': [uid] })

function judgementOf({ username = AGENT, uris = [CART], request = {}, usages = [], seconds, claims }: Wish): Judgement {
  const extra = Object.entries(claims ?? { 'node-name': ['one'] }).map(([key, values]) => [
    `authentication.kubernetes.io/${key}`,
    values,
  ])
  const asked: SigningRequest = {
    username,
    extra: Object.fromEntries(extra) as Record<string, string[]>,
    request: { publicKeyDer: Buffer.alloc(0), uris, otherNames: 0, isAuthority: false, hasSubject: false, ...request },
    usages,
    expirationSeconds: seconds ?? null,
  }
  return judge(asked, { trustDomain: 'cluster.local', agentUsername: AGENT, pods: PODS })
}

function judged(wish: Wish): string {
  const judgement = judgementOf(wish)
  return 'denied' in judgement ? judgement.denied : judgement.uri
}

const own = { username: 'system:serviceaccount:shop:cart', claims: boundTo('cart') }

const GRANTED: Readonly<Record<string, Wish>> = {
  'an agent, for a pod of its node': {},
  'an agent whose token names the pod alone': { claims: boundTo('agent-one') },
  'all usages, for a whole day': {
    usages: ['digital signature', 'key encipherment', 'client auth', 'server auth'],
    seconds: 86_400,
  },
  'a pod, for itself': own,
}

const DENIED: Readonly<Record<string, readonly [Wish, RegExp]>> = {
  'no name': [{ uris: [] }, /0 URIs/],
  'two names': [{ uris: [CART, 'spiffe://cluster.local/ns/shop/sa/stock'] }, /2 URIs/],
  'the same name twice': [{ uris: [CART, CART] }, /2 URIs/],
  'a DNS name beside it': [{ request: { otherNames: 1 } }, /no URIs/],
  'an authority': [{ request: { isAuthority: true } }, /authority/],
  'a subject': [{ request: { hasSubject: true } }, /subject/],
  'signing certificates': [{ usages: ['client auth', 'cert sign'] }, /cert sign/],
  'a second more than a day': [{ seconds: 86_401 }, /86401 seconds/],
  'another trust domain': [{ uris: ['spiffe://elsewhere/ns/shop/sa/cart'] }, /no identity of trust domain/],
  'no identity': [{ uris: ['https://cluster.local/ns/shop/sa/cart'] }, /no identity/],
  'a pod of another node': [
    { uris: ['spiffe://cluster.local/ns/shop/sa/stock'] },
    /no pod on node one runs as shop\/stock/,
  ],
  'the same, by the agent’s own pod': [{ claims: boundTo('agent-two') }, /no pod on node two/],
  'a node that the token does not name, whatever its pod': [
    { claims: { 'node-name': ['two'], ...boundTo('agent-one') } },
    /no pod on node two/,
  ],
  'an account that nobody runs as': [{ uris: ['spiffe://cluster.local/ns/shop/sa/default'] }, /runs as shop\/default/],
  'an account of another namespace': [{ uris: ['spiffe://cluster.local/ns/bank/sa/cart'] }, /runs as bank\/cart/],
  'a pod that has ended': [{ uris: ['spiffe://cluster.local/ns/shop/sa/ended'] }, /runs as shop\/ended/],
  'an agent whose token names no node': [{ claims: {} }, /does not say which node/],
  'two nodes': [{ claims: { 'node-name': ['one', 'two'] } }, /does not say which node/],
  'an agent’s token bound to another’s pod': [{ claims: boundTo('cart') }, /does not say which node/],
  'an agent’s pod of that name made anew': [{ claims: boundTo('agent-one', 'uid-old') }, /does not say which node/],
  'a pod, for another account': [{ ...own, uris: ['spiffe://cluster.local/ns/shop/sa/stock'] }, /runs as cart/],
  'a token that is bound to no pod': [{ ...own, claims: {} }, /bound to no pod/],
  'a token that names a node alone': [{ ...own, claims: { 'node-name': ['one'] } }, /bound to no pod/],
  'a token bound to a pod of another account': [{ ...own, claims: boundTo('stock') }, /bound to no pod/],
  'a token whose pod has been made anew': [{ ...own, claims: boundTo('cart', 'uid-old') }, /bound to no pod/],
  'a user': [{ username: 'jane', claims: boundTo('cart') }, /bound to no pod/],
}

for (const [what, wish] of Object.entries(GRANTED)) {
  test(`granted: ${what}`, () => assert.equal(judged(wish), CART))
}

for (const [what, [wish, why]] of Object.entries(DENIED)) {
  test(`denied: ${what}`, () => assert.match(judged(wish), why))
}

const NOT_YET: Readonly<Record<string, Wish>> = {
  'a pod of that account on the node': { uris: ['spiffe://cluster.local/ns/shop/sa/stock'] },
  'the agent’s own pod, by which alone its node is known': { claims: boundTo('agent-one', 'uid-new') },
  'the node of the agent’s own pod': { claims: boundTo('agent-three') },
  'the pod that asks': { ...own, claims: boundTo('cart', 'uid-new') },
}
const FOR_GOOD: Readonly<Record<string, Wish>> = {
  'two names': { uris: [CART, 'spiffe://cluster.local/ns/shop/sa/stock'] },
  'a token that is bound to nothing': { ...own, claims: {} },
  'a pod of another account': { ...own, uris: ['spiffe://cluster.local/ns/shop/sa/stock'] },
  'a token bound to another’s pod': { ...own, claims: boundTo('stock') },
  'a pod that has ended': { username: 'system:serviceaccount:shop:ended', claims: boundTo('ended') },
}

for (const [what, wish] of Object.entries(NOT_YET)) {
  test(`not yet: ${what} may not be known`, () => assert.equal(notYet(wish), true))
}

for (const [what, wish] of Object.entries(FOR_GOOD)) {
  test(`denied for good: ${what}`, () => assert.equal(notYet(wish), false))
}

function notYet(wish: Wish): boolean | null {
  const judgement = judgementOf(wish)
  return 'denied' in judgement ? judgement.notYet : null
}
