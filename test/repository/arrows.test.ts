import assert from 'node:assert/strict'
import { ESLint } from 'eslint'
import { test } from 'node:test'
import { arrows, packageOwners } from './arrows.ts'
import { verdicts } from './lint.ts'
import { repository, textOf, writtenFiles } from './sources.ts'

const refused = ['weft/arrows']
const inRoom = (room: string): string => (room.endsWith('.ts') ? room : `${room}/some.ts`)

/** Room → imports it may not have, and some that it may: one row for each room of ARCHITECTURE.md. */
const rows: Record<string, { never: string[]; may: string[] }> = {
  'agent/model': {
    never: [
      "import { watch } from '../kube/watch.ts'",
      "import type { Watch } from '../kube/watch.ts'",
      "import { readFileSync } from 'node:fs'",
      "import yaml from 'yaml'",
      "import { config } from '../config.ts'",
    ],
    may: ["import { RE2JS } from 're2js'", "import { route } from './route.ts'"],
  },
  'agent/kernel': {
    never: [
      "import { watch } from '../kube/watch.ts'",
      "import { issue } from '../identity/issue.ts'",
      "import { serve } from '../proxy/connection.ts'",
      "import type { Serve } from '../proxy/connection.ts'",
    ],
    may: ["import { address } from '../model/address.ts'", "import native from '../../native/index.js'"],
  },
  'agent/cni': {
    never: [
      "import { watch } from '../kube/watch.ts'",
      "import { Captures } from '../node/captures.ts'",
      "import { agentConfig } from '../config.ts'",
    ],
    may: ["import { native } from '../kernel/native.ts'", "import type { Workload } from '../model/workload.ts'"],
  },
  'agent/identity': {
    never: [
      "import { watch } from '../kube/watch.ts'",
      "import { kernel } from '../kernel/bpf.ts'",
      "import { serve } from '../proxy/connection.ts'",
    ],
    may: ["import forge from 'node-forge'", "import { identity } from '../model/identity.ts'"],
  },
  'agent/telemetry': {
    never: [
      "import { watch } from '../kube/watch.ts'",
      "import { kernel } from '../kernel/bpf.ts'",
      "import { issue } from '../identity/issue.ts'",
      "import { serve } from '../proxy/connection.ts'",
    ],
    may: ["import { Counter } from 'prom-client'", "import pino from 'pino'"],
  },
  'agent/kube': {
    never: [
      "import { kernel } from '../kernel/bpf.ts'",
      "import { issue } from '../identity/issue.ts'",
      "import { serve } from '../proxy/connection.ts'",
    ],
    may: ["import { Watch } from '@kubernetes/client-node'", "import { route } from '../model/route.ts'"],
  },
  'agent/signing': {
    never: [
      "import { kernel } from '../kernel/bpf.ts'",
      "import { serve } from '../proxy/connection.ts'",
      "import forge from 'node-forge'",
      "import { Watch } from '@kubernetes/client-node'",
    ],
    may: ["import { judge } from '../identity/judge.ts'", "import { Reflector } from '../kube/reflector.ts'"],
  },
  'agent/proxy': {
    never: [
      "import { watch } from '../kube/watch.ts'",
      "import { Watch } from '@kubernetes/client-node'",
      "import forge from 'node-forge'",
      "import { openKernel } from '../kernel/bpf.ts'",
      "import native from '../../native/index.js'",
    ],
    may: [
      "import { open } from '../telemetry/metrics.ts'",
      "import type { Kernel } from '../kernel/kernel.ts'",
      "import { type Kernel } from '../kernel/kernel.ts'",
      "export type { Kernel } from '../kernel/kernel.ts'",
    ],
  },
  'agent/node': {
    never: [
      "import { statusText } from '../cli/status-text.ts'",
      "import { KubeConfig } from '@kubernetes/client-node'",
      "import { start } from '../agent.ts'",
    ],
    may: ["import { Reflector } from '../kube/reflector.ts'", "import { openKernel } from '../kernel/bpf.ts'"],
  },
  'agent/cli': {
    never: [
      "import { startAdmin } from '../telemetry/admin.ts'",
      "import { serve } from '../proxy/connection.ts'",
      "import { KubeConfig } from '@kubernetes/client-node'",
    ],
    may: [
      "import type { AgentStatus } from '../telemetry/status.ts'",
      "import { connectKube } from '../kube/client.ts'",
      "import { canonicalName } from '../model/workload.ts'",
    ],
  },
  'agent/worker.ts': {
    never: ["import { watch } from './kube/watch.ts'", "import { Watch } from '@kubernetes/client-node'"],
    may: ["import { serve } from './proxy/connection.ts'", "import { openKernel } from './kernel/bpf.ts'"],
  },
  'agent/config.ts': { never: ["import { serve } from './proxy/connection.ts'"], may: [] },
  agent: {
    never: ["import { up } from '../lab/cli/up.ts'", "export { up } from '../lab/cli/up.ts'"],
    may: ["import { watch } from './kube/watch.ts'"],
  },
  lab: {
    never: ["import { start } from '../agent/agent.ts'", "import { start } from '../agent/worker.ts'"],
    may: ["import { KubeConfig } from '@kubernetes/client-node'"],
  },
  charts: {
    never: ["import { watch } from '../agent/kube/watch.ts'", "import { up } from '../lab/cli/up.ts'"],
    may: ["import { AGENT_SETTINGS } from '../agent/config.ts'", "import { stringify } from 'yaml'"],
  },
}

for (const [room, { never, may }] of Object.entries(rows)) {
  for (const statement of never) {
    test(`${room} is refused: ${statement}`, async () => {
      assert.deepEqual(await verdicts(inRoom(room), `${statement}\n`), refused)
    })
  }
  for (const statement of may) {
    test(`${room} is allowed: ${statement}`, async () => {
      assert.deepEqual(await verdicts(inRoom(room), `${statement}\n`), [])
    })
  }
}

test('every row of the table has its examples here', () => {
  assert.deepEqual(Object.keys(arrows).sort(), Object.keys(rows).sort())
})

test('a deeper folder is held by its room', async () => {
  const statement = "import { watch } from '../../kube/watch.ts'\n"
  assert.deepEqual(await verdicts('agent/proxy/http/parse.ts', statement), refused)
})

test('a root is imported by nobody but the command line', async () => {
  assert.deepEqual(await verdicts('agent/kube/watch.ts', "import { start } from '../agent.ts'\n"), refused)
  assert.deepEqual(await verdicts('agent/cli/agent.ts', "import { start } from '../agent.ts'\n"), [])
})

test('a dynamic import and require are imports', async () => {
  assert.deepEqual(await verdicts('agent/proxy/tcp.ts', "await import('../kube/watch.ts')\n"), refused)
  assert.deepEqual(await verdicts('agent/proxy/tcp.ts', "require('../../native/weft.node')\n"), refused)
})

test('main.ts alone may load the lab, and only when asked', async () => {
  assert.deepEqual(await verdicts('agent/main.ts', "await import('../lab/main.ts')\n"), [])
  assert.deepEqual(await verdicts('agent/main.ts', "import { lab } from '../lab/main.ts'\n"), refused)
  assert.deepEqual(await verdicts('agent/cli/lab.ts', "await import('../../lab/main.ts')\n"), refused)
})

test('a package with an owner is refused elsewhere', async () => {
  for (const [name, owners] of Object.entries(packageOwners)) {
    const elsewhere = owners.includes('agent/kube') ? 'agent/telemetry/some.ts' : 'agent/kube/some.ts'
    assert.deepEqual(await verdicts(elsewhere, `import { x } from '${name}'\n`), refused, name)
  }
})

test("the project's own configuration carries both rules as errors", async () => {
  const config = await new ESLint({ cwd: repository }).calculateConfigForFile('agent/model/route.ts')
  assert.deepEqual([config.rules['weft/arrows'], config.rules['weft/names']], [[2], [2]])
  assert.equal(config.rules['@typescript-eslint/no-floating-promises'][0], 2)
})

test('ARCHITECTURE.md lists each room that exists', () => {
  const text = textOf('ARCHITECTURE.md')
  const files = writtenFiles()
  const rooms = Object.keys(arrows).filter((room) => files.some((file) => file.startsWith(`${room}/`)))
  assert.deepEqual(
    rooms.filter((room) => room !== 'agent' && !new RegExp(`^- .*\`${room}\``, 'm').test(text)),
    [],
  )
})
