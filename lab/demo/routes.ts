// The five routes of examples/shop, in the order in which the demo tries them.
import { join } from 'node:path'

export interface Route {
  readonly key: string
  readonly name: string
  /** What it does, as the demo says it. */
  readonly says: string
  readonly file: string
}

const example = (path: string): string => join(import.meta.dirname, '../../examples/shop', path)

const route = (key: string, name: string, says: string): Route => {
  return { key, name, says, file: example(`routes/${name}.yaml`) }
}

export const manifest = example('shop.yaml')
export const subsets = example('subsets.yaml')

export const routes = {
  allV1: route('1', 'all-v1', 'everyone gets v1'),
  canary: route('2', 'canary', '80 % v1, 20 % v2'),
  header: route('3', 'header', 'kai gets v2, everyone else v1'),
  delay: route('4', 'delay', 'every call to catalog waits 0.5 s'),
  abort: route('5', 'abort', 'half of the calls to catalog fail with 418'),
} as const
