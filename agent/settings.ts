// The mechanism behind config.ts: settings as a table, told to yargs and read from arguments and environment.

import type { Options } from 'yargs'

interface TextSetting {
  readonly type: 'string'
  readonly default: string | null
  readonly describe: string
  readonly choices?: readonly string[]
}

interface NumberSetting {
  readonly type: 'number'
  readonly default: number
  readonly min: number
  readonly max: number
  readonly describe: string
}

interface SwitchSetting {
  readonly type: 'boolean'
  readonly default: boolean
  readonly describe: string
}

export type Setting = TextSetting | NumberSetting | SwitchSetting
export type Settings = Readonly<Record<string, Setting>>

type Value<S extends Setting> = S extends NumberSetting
  ? number
  : S extends SwitchSetting
    ? boolean
    : S['default'] extends null
      ? string | null
      : string

/** All settings of a table by their flag's name. */
export type Config<Table extends Settings> = { readonly [Name in keyof Table]: Value<Table[Name]> }
export type Env = Readonly<Record<string, string | undefined>>

/** A table as yargs wants it. Defaults are only told here: readSettings() asks the environment first. */
export function optionsOf(settings: Settings): Record<string, Options> {
  const options = Object.entries(settings).map(([name, setting]): [string, Options] => [
    name,
    {
      type: setting.type,
      describe: describe(setting),
      requiresArg: setting.type !== 'boolean',
      ...(setting.default === null ? {} : { defaultDescription: String(setting.default) }),
      ...('choices' in setting ? { choices: setting.choices } : {}),
    },
  ])
  return Object.fromEntries(options)
}

function describe(setting: Setting): string {
  return setting.type === 'number' ? `${setting.describe} (${setting.min}..${setting.max})` : setting.describe
}

/** Reads parsed arguments and the environment as settings. Throws with flag and reason where one is not what it must be. */
export function readSettings<Table extends Settings>(
  table: Table,
  given: Readonly<Record<string, unknown>>,
  env: Env,
): Config<Table> {
  const values = Object.entries(table).map(([name, setting]) => {
    const text = env[`WEFT_${name.replaceAll('-', '_').toUpperCase()}`]
    const value = given[name] ?? (text ? readAs(setting, text) : setting.default)
    const wanted = wantedInstead(setting, value)
    const shown = given[name] === undefined && text ? text : JSON.stringify(value)
    if (wanted !== null) throw new Error(`--${name}: ${shown} ${wanted}`)
    return [name, value]
  })
  return Object.fromEntries(values) as Config<Table>
}

/** The text of a variable as a flag's value would come; null stands for what is none. */
function readAs(setting: Setting, text: string): string | number | boolean | null {
  switch (setting.type) {
    case 'number':
      return Number(text)
    case 'boolean':
      return text === 'true' || (text === 'false' ? false : null)
    case 'string':
      return text
  }
}

/** What is wrong with a value, to be said after it; or null. A flag given twice comes as an array. */
function wantedInstead(setting: Setting, value: unknown): string | null {
  if (Array.isArray(value)) return 'must be given once'
  switch (setting.type) {
    case 'number': {
      const { min, max } = setting
      const isWithin = typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
      return isWithin ? null : `is not a whole number from ${min} to ${max}`
    }
    case 'boolean':
      return typeof value === 'boolean' ? null : 'is not true or false'
    case 'string': {
      const isOne = setting.choices === undefined || setting.choices.includes(String(value))
      return isOne ? null : `is not one of ${setting.choices?.join(', ')}`
    }
  }
}
