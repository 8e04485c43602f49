// JSON Merge Patch: members replace members, null removes, lists are values. Pure. Source: RFC 7386.
import { copyOf, isRecord, setMember } from '../object.ts'

/** The patched copy of `target`. */
export function applyMergePatch(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return copyOf(patch)
  const merged: Record<string, unknown> = isRecord(target) ? copyOf(target) : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key]
    else setMember(merged, key, applyMergePatch(Object.hasOwn(merged, key) ? merged[key] : undefined, value))
  }
  return merged
}
