// Whatever callers, authorizers and policies do at once: every request ends, and nothing of it is left in the books.

import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { keySetOf } from '../../agent/model/authentication/request-authentication.ts'
import { seeded } from '../../agent/model/request.fixture.ts'
import { rule, to } from '../../agent/model/world.fixture.ts'
import { ISSUER, jwtRule, setOf, signer } from '../../agent/proxy/tokens.fixture.ts'
import { GUARD, GUARDED, guarded } from './guarded.ts'
import { PLACES } from './shop.ts'

const CALLERS = 12
const REQUESTS = 15
/** Snapshots that come meanwhile. */
const APPLIED = 40

for (const place of PLACES) {
  test(`${place}: nothing is left of requests that end in any way while they are judged`, async (t) => {
    const random = seeded(7)
    const one = <T>(...of: readonly T[]): T => of[Math.floor(random() * of.length)] as T
    const body = { maxBytes: 2000, allowPartial: true }
    const key = await signer('ES256')
    const token = await key.sign()
    const jwt = jwtRule({ issuer: ISSUER })
    const mirror = { destination: { host: 'copy.default.svc.cluster.local', subset: null, port: null }, percent: 100 }
    const setting = await guarded(
      t,
      place,
      (_, response: ServerResponse) => {
        const act = one('allow', 'allow', 'late', 'deny', 'break', 'fail', 'never')
        if (act === 'allow') response.end()
        else if (act === 'late') setTimeout(() => response.end(), 20).unref()
        else if (act === 'deny') response.writeHead(401).end('no')
        else if (act === 'break') response.socket?.destroy()
        else if (act === 'fail') response.writeHead(503).end()
      },
      {
        limits: { podQuestions: 8 },
        more: (of) =>
          of
            .service('copy')
            .pods('copy-v1', { serviceAccount: 'copy', node: 'node-2', captured: 'weft-agent-b' })
            .settings({
              authorizers: [GUARD, { ...GUARD, name: 'other', body, failOpen: true }].map((each) => ({
                ...each,
                timeoutMs: 60,
              })),
            })
            .authorizationPolicy({ ...GUARDED, provider: 'other' })
            .authorizationPolicy({ ...GUARDED, provider: 'other', selector: { app: 'copy' } })
            .requestAuthentication({ rules: [jwt] })
            .virtualService({ hosts: ['shop'], http: [rule({ mirrors: [mirror], destinations: [to('shop')] })] }),
      },
    )
    const { dial, callee, caller, world, apply } = setting
    const nodes = [...new Set([caller, callee])]
    for (const node of nodes) node.plane.node.tokens.set({ name: keySetOf(jwt), jwks: setOf(key) })
    let applied = 0
    const ticking = setInterval(() => {
      if (++applied === APPLIED) clearInterval(ticking)
      if (applied % 2 === 0) world.authorizationPolicy({ action: 'AUDIT', rules: [{ from: [], to: [], when: [] }] })
      apply()
    }, 15)

    /** Sends a request, all of it or a part, and waits for an answer or leaves. */
    async function call(socket: Socket): Promise<void> {
      const length = one(0, 10, 1999, 2001, 200_000)
      const fields = one(
        [],
        [`Authorization: Bearer ${one(token, 'a.b.c', `${token}x`)}`],
        ['Expect: 100-continue'],
        ['Connection: upgrade', 'Upgrade: echo'],
      )
      const framed = length === 0 ? [] : [`Content-Length: ${length}`]
      const path = one('/g', '/g/x', '/open')
      socket.write(
        [`${length === 0 ? 'GET' : 'POST'} ${path} HTTP/1.1`, 'Host: shop', ...framed, ...fields, '', ''].join('\r\n'),
      )
      socket.write(Buffer.alloc(one(length, length, length, Math.floor(length / 2))))
      const act = one('wait', 'wait', 'reset', 'end')
      await sleep(one(0, 1, 10))
      if (act === 'reset') socket.resetAndDestroy()
      else if (act === 'end') socket.end()
      else
        await Promise.race([new Promise((resolve) => socket.once('data', resolve).once('close', resolve)), sleep(200)])
      if (act !== 'wait') await sleep(one(0, 20))
      socket.destroy()
    }

    await Promise.all(
      Array.from({ length: CALLERS }, async () => {
        for (let i = 0; i < REQUESTS; i++) await call(await dial())
      }),
    )
    clearInterval(ticking)
    await sleep(200)
    for (const node of nodes) node.plane.node.pools.drain() // each is a live connection at its other end
    for (const node of nodes) {
      const { load, live, pods, authorizers, mirrors } = node.plane.node
      const held = (): number => [...pods.values()].reduce((sum, { budget }) => sum + budget.held, 0)
      const left = (): unknown => [load.size, live.size, authorizers.size, mirrors.size, held()]
      for (let i = 0; i < 400 && JSON.stringify(left()) !== '[0,0,0,0,0]'; i++) await sleep(10)
      assert.deepEqual(left(), [0, 0, 0, 0, 0])
      // the fake kernel finds nobody at the other end any more
      assert.deepEqual(
        node.faults.filter((why) => !why.includes('ENOTCONN')),
        [],
      )
      assert.deepEqual(
        node.records.filter(({ weft_reason: reason }) => reason === 'MESH_BUG'),
        [],
      )
    }
  })
}
