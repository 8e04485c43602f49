// Which room may import which: the arrows of ARCHITECTURE.md as one table, and the lint rule that holds them.
// Paths are resolved, so it makes no difference how deep a file stands or how an import is written.
import { dirname, relative, resolve } from 'node:path'
import type { Rule } from 'eslint'

interface Arrow {
  /** Rooms it may import values from. */
  readonly rooms: readonly string[]
  /** Rooms it may import types from, beyond those. */
  readonly types?: readonly string[]
  /** May it import node:* modules? Only the pure room may not. */
  readonly node: boolean
  /** Where a forbidden import should go instead. */
  readonly door: string
}

const agentRooms = ['model', 'kube', 'identity', 'kernel', 'telemetry', 'proxy', 'cli'].map((room) => `agent/${room}`)

/** A root is started, never imported. `main.ts` and the subcommands in `cli/` start the others. */
const roots = ['agent/agent.ts', 'agent/worker.ts', 'agent/controller.ts', 'agent/main.ts']

/** Longest prefix wins. What is not listed (test/, configuration files) may import anything but the roots. */
export const arrows: Readonly<Record<string, Arrow>> = {
  'agent/model': {
    rooms: [],
    node: false,
    door: 'model is pure: pass clock, randomness and facts in as arguments',
  },
  'agent/kernel': {
    rooms: ['agent/model', 'native'],
    node: true,
    door: 'kernel knows only model and native: agent.ts brings what it needs as values',
  },
  'agent/cni': {
    rooms: ['agent/model', 'agent/kernel'],
    node: true,
    door: 'cni knows model and the sockets of kernel: node/cni.ts brings what it needs as values',
  },
  'agent/identity': {
    rooms: ['agent/model'],
    node: true,
    door: 'identity knows only model: agent.ts brings what it needs as values',
  },
  'agent/telemetry': {
    rooms: ['agent/model'],
    node: true,
    door: 'telemetry knows only model: what is counted comes in as values',
  },
  'agent/kube': {
    rooms: ['agent/model'],
    node: true,
    door: 'kube turns API objects into model: agent.ts carries them on',
  },
  'agent/signing': {
    rooms: ['agent/model', 'agent/identity', 'agent/kube'],
    node: true,
    door: 'signing joins identity and kube: agent.ts and controller.ts bring what else it needs as values',
  },
  'agent/proxy': {
    rooms: ['agent/model', 'agent/telemetry'],
    types: ['agent/kernel', 'agent/identity'],
    node: true,
    door: 'the data path sees a snapshot and interfaces: worker.ts passes the bodies in',
  },
  'agent/node': {
    rooms: [
      ...agentRooms.filter((room) => room !== 'agent/cli'),
      'agent/cni',
      'agent/node',
      'agent/config.ts',
      'native',
    ],
    node: true,
    door: 'the control side of a node joins the rooms: agent.ts brings the settings',
  },
  'agent/cli': {
    rooms: ['agent/model', 'agent/kube', 'agent/kernel', 'agent/signing', 'agent/config.ts', ...roots],
    types: ['agent/telemetry'],
    node: true,
    door: 'a subcommand asks the cluster through kube, the kernel through its room, the agents through their admin endpoint',
  },
  'agent/config.ts': {
    rooms: [
      'agent/model',
      'agent/settings.ts',
      'agent/access-settings.ts',
      'agent/cni-settings.ts',
      'agent/traffic-settings.ts',
    ],
    node: true,
    door: 'config is one table of flags',
  },
  'agent/worker.ts': {
    rooms: ['agent/config.ts', ...agentRooms.filter((room) => room !== 'agent/kube'), 'native'],
    node: true,
    door: 'the data side never sees Kubernetes: agent.ts sends it plain values',
  },
  agent: { rooms: ['agent', 'native'], node: true, door: 'the agent never imports the lab' },
  lab: { rooms: ['agent', 'lab'], node: true, door: 'the lab starts what a user would start' },
  charts: {
    rooms: ['charts', 'agent/config.ts', 'agent/settings.ts'],
    node: true,
    door: 'what the chart generates comes of tables: of settings, and of its own',
  },
}

/** Packages with one owner: everybody else comes through that room. */
export const packageOwners: Readonly<Record<string, readonly string[]>> = {
  '@kubernetes/client-node': ['agent/kube', 'lab', 'test'],
  '@kubernetes-models/istio': ['agent/kube', 'charts', 'lab', 'test'],
  'node-forge': ['agent/identity', 'test'],
  jose: ['agent/proxy', 'test'],
  'prom-client': ['agent/telemetry', 'test'],
  pino: ['agent/telemetry', 'agent/agent.ts', 'agent/worker.ts', 'agent/controller.ts', 'agent/main.ts'],
  re2js: ['agent/model'],
  yaml: ['agent/kube', 'charts', 'lab', 'test'],
}

const typesForAll: readonly string[] = ['pino', 'prom-client']

const within = (path: string, room: string): boolean => path === room || path.startsWith(`${room}/`)

/** The table's row for a file, given relative to the repository: the longest room that holds it. */
export function rowOf(file: string): [string, Arrow] | undefined {
  const rows = Object.entries(arrows).filter(([room]) => within(file, room))
  return rows.sort(([one], [other]) => other.length - one.length)[0]
}

interface Import {
  readonly from: string
  readonly specifier: string
  readonly typeOnly: boolean
  readonly dynamic: boolean
}

/** Why `from` (path relative to the repository) may not import `specifier`, or undefined where it may. */
export function refusal({ from, specifier, typeOnly, dynamic }: Import): string | undefined {
  if (specifier.startsWith('.')) {
    return refusedFile(from, relative('/', resolve('/', dirname(from), specifier)), { typeOnly, dynamic })
  }
  if (specifier.startsWith('node:')) {
    const row = rowOf(from)
    return row && !row[1].node && !isTest(from) ? `${specifier} is not for ${row[0]}: ${row[1].door}` : undefined
  }
  return refusedPackage(from, specifier, typeOnly)
}

function refusedFile(from: string, to: string, { typeOnly, dynamic }: { typeOnly: boolean; dynamic: boolean }) {
  if (roots.includes(to) && !isTest(from) && from !== 'agent/main.ts' && !within(from, 'agent/cli')) {
    return `nothing imports the root ${to}: move what is needed into a room, or start it`
  }
  // The one way from the product to the lab: `weft lab …` loads it when asked, and a release may leave it out.
  if (from === 'agent/main.ts' && to.startsWith('lab/main.') && dynamic) return undefined
  const row = rowOf(from)
  if (!row) return undefined
  const [room, arrow] = row
  const allowed = [room, ...arrow.rooms, ...(typeOnly ? (arrow.types ?? []) : [])]
  if (allowed.some((target) => within(to, target))) return undefined
  // A test beside a pure file may use test builders that stand under test/.
  if (isTest(from) && within(to, 'test')) return undefined
  return `${room} may not import ${to}${arrow.types?.some((target) => within(to, target)) ? ' (types only)' : ''}: ${arrow.door}`
}

function refusedPackage(from: string, specifier: string, typeOnly: boolean): string | undefined {
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
  const owners = packageOwners[name]
  if (owners) {
    if (owners.some((room) => within(from, room)) || (typeOnly && typesForAll.includes(name) && !isModel(from))) {
      return undefined
    }
    return `only ${owners.filter((room) => room !== 'test').join(', ')} may import ${name}: go through there`
  }
  return isModel(from) && !isTest(from) ? `model imports itself and re2js alone, not ${name}` : undefined
}

const isModel = (from: string): boolean => within(from, 'agent/model')
const isTest = (from: string): boolean => from.endsWith('.test.ts') || within(from, 'test')

interface Kinds {
  readonly importKind?: string
  readonly exportKind?: string
}

function typeOnlyImport(node: Kinds & { specifiers?: readonly Kinds[] }): boolean {
  const only = (each: Kinds): boolean => each.importKind === 'type' || each.exportKind === 'type'
  const specifiers = node.specifiers ?? []
  return only(node) || (specifiers.length > 0 && specifiers.every(only))
}

/** ESLint rule `weft/arrows`. */
export const arrowsRule: Rule.RuleModule = {
  meta: { type: 'problem', schema: [], messages: { refused: '{{reason}} (ARCHITECTURE.md, arrows)' } },
  create(lint) {
    const from = relative(lint.cwd, lint.filename)
    const check = (node: Rule.Node, source: unknown, dynamic: boolean): void => {
      const specifier = (source as { value?: unknown } | null)?.value
      if (typeof specifier !== 'string') return
      const typeOnly = typeOnlyImport(node as never)
      const reason = refusal({ from, specifier, typeOnly, dynamic })
      if (reason !== undefined) lint.report({ node, messageId: 'refused', data: { reason } })
    }
    return {
      ImportDeclaration: (node) => check(node, node.source, false),
      ExportNamedDeclaration: (node) => check(node, node.source, false),
      ExportAllDeclaration: (node) => check(node, node.source, false),
      ImportExpression: (node) => check(node, node.source, true),
      CallExpression: (node) => {
        const named = node.callee.type === 'Identifier' ? node.callee.name : ''
        if (named === 'require') check(node, node.arguments[0], false)
      },
    }
  },
}
