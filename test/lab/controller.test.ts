// The controller of a lab, as a user meets it: kubectl shows what it says, and it goes with the lab.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { findCgroup2, labCgroup } from '../../lab/node/cgroup.ts'
import { ownKubectl } from '../lab-api/kubectl.ts'
import { TestLab, eventually, ran } from './lab.ts'

const MANIFESTS = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews }
spec:
  hosts: [reviews]
  http: [{ route: [{ destination: { host: reviews } }], match: [{ statPrefix: a }] }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews-too }
spec:
  hosts: [reviews]
  http: [{ route: [{ destination: { host: reviews } }] }]
`
const kubectl = await ownKubectl()
const skip = 'why' in kubectl ? kubectl.why : false

let lab: TestLab
before(async () => {
  lab = await TestLab.make()
  const file = await lab.write(MANIFESTS)
  const result = await lab.run('up', '--detach', '--nodes', '1', '--timeout', '40', '-f', file)
  assert.equal(result.code, 0, result.stdout + result.stderr)
})
after(() => lab.end())

const controllerPids = (): string[] => {
  const procs = join(labCgroup(findCgroup2() ?? '', lab.place.id), 'node-1', 'controller', 'cgroup.procs')
  return readFileSync(procs, 'utf8').split('\n').filter(Boolean)
}

test('what it says of a policy is in the object as kubectl shows it', { skip }, async () => {
  const yamlOf = (name: string, saying: string): Promise<string> =>
    eventually(saying, async () => {
      const get = ['get', 'virtualservice', name, '-o', 'yaml']
      const { stdout } = await ran('kubectl', ['--kubeconfig', lab.place.kubeconfig, ...get])
      return stdout.includes(saying) && stdout
    })
  const stdout = await yamlOf('reviews', 'PartiallyHonoured')
  assert.match(
    stdout,
    /message: 'spec\.http\[0\]\.match\[0\]\.statPrefix: no\s+statistics\s+are\s+kept\s+by\s+rule'\n.*\n.*reason: FieldsNotHonoured/,
  )
  const overridden = await yamlOf('reviews-too', 'Conflicted')
  assert.match(overridden, /VirtualService\s+default\/reviews\s+is\s+in\s+force\s+instead/)
  assert.match(stdout, /reason: Accepted\n +status: "True"\n +type: Accepted/)
})

test('it shows on its admin port whether it leads, and ends with the lab', async () => {
  const { stdout } = await lab.run('exec', '--node', 'node-1', '--', 'curl', '-s', 'http://127.0.0.1:15021/metrics')
  assert.match(stdout, /^weft_controller_leader 1$/m)
  const [pid] = controllerPids()
  await lab.run('down')
  assert.throws(() => process.kill(Number(pid), 0), /ESRCH/)
  const { code, stdout: said } = await lab.run('up', '--detach', '--nodes', '1', '--no-controller')
  assert.equal(code, 0)
  assert.match(said, /^ready in /m)
  assert.throws(controllerPids, /ENOENT/)
})
