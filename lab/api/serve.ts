// The API alone, for a look at it with kubectl: `node lab/api/serve.ts [PORT]`, then `kubectl -s URL …`.
import { readFileSync } from 'node:fs'
import { loadDefinitions } from './definitions.ts'
import { startApi } from './server.ts'
import { createStore } from './store.ts'

const store = createStore()
loadDefinitions(store, readFileSync(new URL('istio-crds.yaml', import.meta.url), 'utf8'))
const api = await startApi({ store, port: Number(process.argv[2] ?? 0) })
process.stdout.write(`${api.url}\n`)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void api.close())
