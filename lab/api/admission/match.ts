// Which writes a policy or a binding is about. Pure.
// Source: admissionregistration.k8s.io/v1 MatchResources, NamedRuleWithOperations.
import { isRecord } from '../object.ts'
import { matches, selectorOf } from '../selector.ts'
import type { Attributes } from './attributes.ts'

type Labels = Readonly<Record<string, string>>

/** Labels of a namespace by its name; undefined when there is none of that name. */
export type LabelsOfNamespace = (name: string) => Labels | undefined

/** Whether a write is one that `resources` (a MatchResources; undefined matches all) names. */
export function isMatched(resources: unknown, attributes: Attributes, labelsOf: LabelsOfNamespace): boolean {
  if (!isRecord(resources)) return true
  const { resourceRules, excludeResourceRules, namespaceSelector, objectSelector, matchPolicy } = resources
  const isExact = matchPolicy === 'Exact'
  const isIn = (rules: unknown): boolean => listOf(rules).some((rule) => isOfRule(rule, attributes, isExact))
  if (isIn(excludeResourceRules)) return false
  if (listOf(resourceRules).length > 0 && !isIn(resourceRules)) return false
  return isOfNamespace(namespaceSelector, attributes, labelsOf) && isOfObject(objectSelector, attributes)
}

function isOfRule(rule: Record<string, any>, attributes: Attributes, isExact: boolean): boolean {
  const { operation, type, version, subresource, namespace, name } = attributes
  const has = (list: unknown, ...values: string[]): boolean =>
    Array.isArray(list) && (list.includes('*') || values.some((value) => list.includes(value)))
  const versions = isExact ? [version] : type.versions.map((each) => each.name)
  const isNamespaced = type.namespaced ? namespace !== undefined : false
  const { scope = '*', resourceNames } = rule
  if (scope === 'Namespaced' && !isNamespaced) return false
  if (scope === 'Cluster' && isNamespaced) return false
  if (Array.isArray(resourceNames) && resourceNames.length > 0 && !resourceNames.includes(name)) return false
  return (
    has(rule['operations'], operation) &&
    has(rule['apiGroups'], type.group) &&
    has(rule['apiVersions'], ...versions) &&
    listOfTexts(rule['resources']).some((pattern) => isOfPattern(pattern, type.plural, subresource))
  )
}

// A pattern: pods, pods/status, every subresource of pods, all resources without theirs, one subresource of all, everything.
function isOfPattern(pattern: string, plural: string, subresource: string | undefined): boolean {
  const [resource, below] = pattern.split('/')
  if (resource !== '*' && resource !== plural) return false
  return below === '*' ? true : below === subresource
}

function isOfNamespace(selector: unknown, attributes: Attributes, labelsOf: LabelsOfNamespace): boolean {
  if (!isRecord(selector) || isEmpty(selector)) return true
  const { type, namespace, object, oldObject } = attributes
  if (type.key === 'namespaces') return matches(selectorOf(selector), (object ?? oldObject)?.metadata.labels)
  if (namespace === undefined) return true
  return matches(selectorOf(selector), labelsOf(namespace))
}

function isOfObject(selector: unknown, { object, oldObject }: Attributes): boolean {
  if (!isRecord(selector) || isEmpty(selector)) return true
  const wanted = selectorOf(selector)
  return [object, oldObject].some((each) => each !== null && matches(wanted, each.metadata.labels))
}

function isEmpty({ matchLabels, matchExpressions }: Record<string, unknown>): boolean {
  return !matchLabels && !matchExpressions
}

function listOf(value: unknown): Record<string, any>[] {
  return Array.isArray(value) ? value.filter(isRecord) : []
}

function listOfTexts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((each): each is string => typeof each === 'string') : []
}
