// Parts of the schema of the chart's values: what Kubernetes and the tables of settings say of them.

import type { Setting, Settings } from '../../agent/settings.ts'

export type Part = Readonly<Record<string, unknown>>

/** An object of these values, and no other. */
export function object(properties: Readonly<Record<string, Part>>, required: readonly string[] = []): Part {
  return { type: 'object', additionalProperties: false, properties, ...(required.length === 0 ? {} : { required }) }
}

export const list = (items: Part): Part => ({ type: 'array', items })
export const oneOf = (...values: readonly string[]): Part => ({ type: 'string', enum: values })
export const whole = (minimum: number, maximum: number): Part => ({ type: 'integer', minimum, maximum })

export const TEXT: Part = { type: 'string' }
export const SWITCH: Part = { type: 'boolean' }
export const TEXTS: Part = { type: 'object', additionalProperties: { type: 'string' } }
/** What the API server judges, not the chart. */
export const OPEN: Part = { type: 'object' }
export const PATH: Part = { type: 'string', pattern: '^/' }

/** RFC 1123: names of Kubernetes. */
export const NAME: Part = { type: 'string', pattern: '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$', maxLength: 253 }
export const NAME_OR_NONE: Part = { anyOf: [NAME, { const: '' }] }

const QUANTITIES: Part = { type: 'object', additionalProperties: { type: ['string', 'number'] } }
export const RESOURCES: Part = object({ requests: QUANTITIES, limits: QUANTITIES, claims: list(OPEN) })
export const ENV: Part = list(object({ name: TEXT, value: TEXT, valueFrom: OPEN }, ['name']))
export const AFFINITY: Part = object({ nodeAffinity: OPEN, podAffinity: OPEN, podAntiAffinity: OPEN })
export const TOLERATIONS: Part = list(
  object({
    key: TEXT,
    operator: oneOf('Exists', 'Equal', 'Lt', 'Gt'),
    value: TEXT,
    effect: oneOf('NoSchedule', 'PreferNoSchedule', 'NoExecute'),
    tolerationSeconds: { type: 'integer' },
  }),
)
/** A number, or a share of all. */
export const COUNT_OR_SHARE: Part = { anyOf: [whole(0, 100_000), { type: 'string', pattern: '^[0-9]{1,3}%$' }] }

/** A table of settings, less those that the chart sets itself. */
export function settings(table: Settings, own: readonly string[]): Part {
  const rest = Object.entries(table).filter(([name]) => !own.includes(name))
  return object(Object.fromEntries(rest.map(([name, setting]) => [name, settingOf(setting)])))
}

function settingOf(setting: Setting): Part {
  const { describe: description } = setting
  switch (setting.type) {
    case 'number':
      return { ...whole(setting.min, setting.max), description }
    case 'boolean':
      return { ...SWITCH, description }
    case 'string':
      return { ...(setting.choices === undefined ? TEXT : oneOf(...setting.choices)), description }
  }
}
