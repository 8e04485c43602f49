// Strategic merge patch: a merge patch that knows which lists are keyed, as kubectl sends for built-in kinds. Pure.
// Source: Kubernetes design document "strategic merge patch"; directives $patch, $retainKeys,
// $deleteFromPrimitiveList/FIELD and $setElementOrder/FIELD.
import { copyOf, isRecord, sameJson, setMember } from '../object.ts'
import { badRequest } from '../status.ts'
import { listStrategy } from './merge-keys.ts'

type Members = Record<string, unknown>

const DELETE_VALUES = '$deleteFromPrimitiveList/'
const ORDER = '$setElementOrder/'

/** The patched copy of an object of `kind`. Throws 400 on a malformed directive. */
export function applyStrategicPatch(kind: string, target: unknown, patch: unknown): Members {
  if (!isRecord(patch)) throw badRequest('a strategic merge patch is an object')
  return mergeMembers(kind, '', isRecord(target) ? copyOf(target) : {}, patch)
}

function mergeMembers(kind: string, path: string, target: Members, patch: Members): Members {
  const directive = patch['$patch']
  if (directive === 'replace') return withoutDirectives(patch) as Members
  if (directive === 'delete') return {}
  if (directive !== undefined && directive !== 'merge') throw badRequest(`unknown $patch: ${JSON.stringify(directive)}`)
  const retained = patch['$retainKeys']
  if (retained !== undefined) {
    if (!Array.isArray(retained)) throw badRequest('$retainKeys is a list')
    for (const key of Object.keys(target)) if (!retained.includes(key)) delete target[key]
  }
  for (const [key, value] of Object.entries(patch)) {
    if (!key.startsWith('$')) mergeMember(kind, path === '' ? key : `${path}.${key}`, target, [key, value])
  }
  for (const key of Object.keys(patch)) applyListDirective(kind, path, target, [key, patch])
  return target
}

function mergeMember(kind: string, path: string, target: Members, [key, value]: [string, unknown]): void {
  const old = Object.hasOwn(target, key) ? target[key] : undefined
  if (value === null) delete target[key]
  else if (isRecord(value)) setMember(target, key, mergeMembers(kind, path, isRecord(old) ? old : {}, value))
  else if (Array.isArray(value)) setMember(target, key, mergeList(kind, path, Array.isArray(old) ? old : [], value))
  else setMember(target, key, value)
}

function mergeList(kind: string, path: string, target: unknown[], patch: unknown[]): unknown[] {
  const strategy = listStrategy(kind, path)
  if (strategy === undefined) return withoutDirectives(patch) as unknown[]
  if (strategy === 'values') return [...target, ...patch.filter((value) => !target.includes(value))]
  const items = patch.map((item) => (isRecord(item) ? item : refuseItem(path)))
  if (items.some((item) => item['$patch'] === 'replace')) {
    return items
      .filter((item) => item['$patch'] !== 'replace' || Object.keys(item).length > 1)
      .map((item) => withoutDirectives(item))
  }
  const merged = [...target]
  for (const item of items) mergeItem(kind, path, merged, [strategy.by, item])
  return merged
}

function mergeItem(kind: string, path: string, merged: unknown[], [by, item]: [string, Members]): void {
  const id = item[by]
  if (id === undefined) throw badRequest(`an item of ${path} has no ${by}, the merge key`)
  const at = merged.findIndex((old) => isRecord(old) && sameJson(old[by], id))
  if (item['$patch'] === 'delete') {
    for (let from = merged.length - 1; from >= 0; from--) {
      const old = merged[from]
      if (isRecord(old) && sameJson(old[by], id)) merged.splice(from, 1)
    }
  } else if (at < 0) merged.push(mergeMembers(kind, path, {}, item))
  else merged[at] = mergeMembers(kind, path, merged[at] as Members, item)
}

function applyListDirective(kind: string, path: string, target: Members, [key, patch]: [string, Members]): void {
  const prefix = [DELETE_VALUES, ORDER].find((each) => key.startsWith(each))
  if (!prefix) return
  const named = patch[key]
  const field = key.slice(prefix.length)
  const list = Object.hasOwn(target, field) ? target[field] : undefined
  if (!Array.isArray(named)) throw badRequest(`${key} is a list`)
  if (!Array.isArray(list)) return
  if (prefix === DELETE_VALUES) target[field] = list.filter((value) => !named.some((gone) => sameJson(gone, value)))
  else target[field] = inOrder(list, named, listStrategy(kind, path === '' ? field : `${path}.${field}`))
}

/**
 * Items named by the patch in its order; those it does not name (another writer's) keep their place relative to the
 * named ones that stood there before: they are already sorted in `list`, so one merge pass does.
 */
function inOrder(list: unknown[], order: unknown[], strategy: ReturnType<typeof listStrategy>): unknown[] {
  if (strategy === undefined) return list
  const idOf = (item: unknown): unknown => (strategy === 'values' ? item : isRecord(item) ? item[strategy.by] : item)
  const wanted = order.map(idOf)
  const rank = (item: unknown): number => wanted.findIndex((id) => sameJson(id, idOf(item)))
  const named = list.filter((item) => rank(item) >= 0).sort((a, b) => rank(a) - rank(b))
  const others = list.filter((item) => rank(item) < 0)
  const merged: unknown[] = []
  for (const item of named) {
    while (others.length > 0 && list.indexOf(others[0]) < list.indexOf(item)) merged.push(others.shift())
    merged.push(item)
  }
  return [...merged, ...others]
}

/** What a patch adds where nothing was: without directives, and without the members it would have removed. */
function withoutDirectives(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDirectives)
  if (!isRecord(value)) return value
  const kept: Members = {}
  for (const [key, member] of Object.entries(value)) {
    if (!key.startsWith('$') && member !== null) setMember(kept, key, withoutDirectives(member))
  }
  return kept
}

function refuseItem(path: string): never {
  throw badRequest(`an item of ${path} is not an object`)
}
