// Stand-in for the helloworld sample: says which version and instance answered.
import { podName, portOf, serveHttp, text } from './http-app.ts'

const version = process.env['SERVICE_VERSION'] ?? 'v1'

serveHttp(`helloworld ${version}`, portOf(5000), (call) => {
  if (call.path === '/hello') return text(`Hello version: ${version}, instance: ${podName()}\n`)
  if (call.path === '/health') return text('Helloworld is healthy\n')
  return text('not found\n', 404)
})
