import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { cgroupMounts, type CgroupView, doubtOf, findCgroupRoot, podTrees } from './cgroup-mounts.ts'

/** Lines of mountinfo: `path type options [root]`, the latter what of the hierarchy is mounted there. */
function view(mounts: readonly string[], covered: readonly string[] = []): CgroupView {
  const rows = mounts.map((row) => row.split(' '))
  const line = ([path = '', type = '', options = 'rw', root = '/']: string[], id: number): string =>
    `${id + 30} 29 0:${id + 26} ${root} ${path} rw,nosuid shared:${id} - ${type} ${type} ${options}`
  const files = new Map<string, readonly string[]>()
  for (const [path = '', type, , root = '/'] of rows) {
    const whole = root === '/'
    if (type === 'cgroup2') files.set(path, ['cgroup.procs', 'cgroup.controllers', ...(whole ? [] : ['cgroup.type'])])
    if (type === 'cgroup') files.set(path, ['cgroup.procs', 'tasks', ...(whole ? ['release_agent'] : [])])
  }
  for (const path of covered) files.delete(path)
  return {
    mountinfo: `25 1 8:1 / / rw - ext4 /dev/sda1 rw\n${rows.map(line).join('\n')}\n`,
    has: (mountPoint, file) => files.get(mountPoint)?.includes(file) ?? false,
  }
}

const HYBRID = (prefix = ''): string[] => [
  `${prefix}/sys/fs/cgroup tmpfs ro`,
  `${prefix}/sys/fs/cgroup/unified cgroup2 rw,nsdelegate`,
  `${prefix}/sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd`,
  `${prefix}/sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct`,
  `${prefix}/sys/fs/cgroup/memory cgroup rw,memory`,
  `${prefix}/sys/fs/cgroup/pids cgroup rw,pids`,
]

/** What is chosen on a machine: the root to attach to, then the trees after it. */
const TABLES: Readonly<Record<string, { view: CgroupView; root: string | null; v1: string[]; doubted?: true }>> = {
  'a host with cgroup2': {
    view: view(['/sys/fs/cgroup cgroup2 rw,nsdelegate,memory_recursiveprot']),
    root: '/sys/fs/cgroup',
    v1: [],
  },
  'a hybrid host': {
    view: view(HYBRID()),
    root: '/sys/fs/cgroup/unified',
    v1: ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup/pids'],
  },
  'a hybrid host without systemd, each controller by itself': {
    view: view([
      '/sys/fs/cgroup tmpfs rw',
      ...['cpu', 'cpuacct', 'memory', 'pids'].map((name) => `/sys/fs/cgroup/${name} cgroup rw,${name}`),
      '/sys/fs/cgroup/openrc cgroup rw,release_agent=/lib/rc/sh/cgroup-release-agent.sh,name=openrc',
      '/sys/fs/cgroup/unified cgroup2 rw',
    ]),
    root: '/sys/fs/cgroup/unified',
    v1: ['/sys/fs/cgroup/pids', '/sys/fs/cgroup/memory'],
  },
  'version 1, where cgroup2 was mounted elsewhere for programs alone': {
    view: view([...HYBRID().filter((row) => !row.includes('cgroup2')), '/run/cilium/cgroupv2 cgroup2 rw']),
    root: '/run/cilium/cgroupv2',
    v1: ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup/pids'],
  },
  'a container with a cgroup namespace, given the node’s tree': {
    view: view(['/host/sys/fs/cgroup cgroup2 ro', '/sys/fs/cgroup cgroup2 ro /../../kubepods.slice/x']),
    root: '/host/sys/fs/cgroup',
    v1: [],
  },
  'the same, its own tree first in the table': {
    view: view(['/sys/fs/cgroup cgroup2 ro /kubepods/x', '/host/sys/fs/cgroup cgroup2 ro']),
    root: '/host/sys/fs/cgroup',
    v1: [],
  },
  'a container with the namespace of the node, given the node’s tree too': {
    view: view(['/sys/fs/cgroup cgroup2 ro', '/host/sys/fs/cgroup cgroup2 ro']),
    root: '/host/sys/fs/cgroup',
    v1: [],
  },
  'a container on a hybrid node': {
    view: view([
      '/sys/fs/cgroup tmpfs ro',
      '/sys/fs/cgroup/systemd cgroup ro,name=systemd /kubepods/burstable/podx/y',
      '/sys/fs/cgroup/pids cgroup ro,pids /kubepods/burstable/podx/y',
      '/sys/fs/cgroup/memory cgroup ro,memory /kubepods/burstable/podx/y',
      ...HYBRID('/host'),
    ]),
    root: '/host/sys/fs/cgroup/unified',
    v1: ['/host/sys/fs/cgroup/systemd', '/host/sys/fs/cgroup/pids'],
  },
  'a container on a hybrid node that was not given its tree': {
    view: view([
      '/sys/fs/cgroup tmpfs ro',
      '/sys/fs/cgroup/unified cgroup2 ro /system.slice/x',
      '/sys/fs/cgroup/pids cgroup ro,pids /kubepods/burstable/podx/y',
    ]),
    root: '/sys/fs/cgroup/unified',
    v1: [],
    doubted: true,
  },
  'a container with a cgroup namespace that was not given the node’s tree': {
    view: view(['/sys/fs/cgroup cgroup2 ro /kubepods/x']),
    root: '/sys/fs/cgroup',
    v1: [],
    doubted: true,
  },
  'a container on a node that is a container (kind, k3d)': {
    view: view(['/sys/fs/cgroup cgroup2 ro /docker/n/kubelet/x', '/host/sys/fs/cgroup cgroup2 ro /docker/n']),
    root: '/host/sys/fs/cgroup',
    v1: [],
  },
  'a container on such a node with version 1': {
    view: view([
      '/sys/fs/cgroup/pids cgroup ro,pids /docker/n/kubepods/x',
      '/host/sys/fs/cgroup/unified cgroup2 ro /docker/n',
      '/host/sys/fs/cgroup/pids cgroup ro,pids /docker/n',
    ]),
    root: '/host/sys/fs/cgroup/unified',
    v1: ['/host/sys/fs/cgroup/pids'],
  },
  'k3s on Alpine, all of it in cgroup2': {
    view: view(['/sys/fs/cgroup cgroup2 rw,nsdelegate', '/run/k3s/x cgroup2 ro /kubepods/y']),
    root: '/sys/fs/cgroup',
    v1: [],
  },
  'version 1 alone': { view: view(HYBRID().filter((row) => !row.includes('cgroup2'))), root: null, v1: [] },
  'no cgroups at all': { view: view([]), root: null, v1: [] },
  'a mount that another one covers': {
    view: view(['/sys/fs/cgroup/unified cgroup2 rw', '/mnt/c cgroup2 rw'], ['/sys/fs/cgroup/unified']),
    root: '/mnt/c',
    v1: [],
  },
}

for (const [name, { view, root, v1, doubted }] of Object.entries(TABLES)) {
  test(`${name}: ${root === null ? 'nothing to attach to' : `${root} is the root`}`, () => {
    assert.equal(findCgroupRoot(view), root)
    if (root === null) return
    assert.deepEqual(podTrees(root, view), [root, ...v1])
    const doubt = doubtOf(root, view)
    if (doubted) assert.match(doubt ?? '', new RegExp(`^${root} is a part .* at /host/sys/fs/cgroup$`))
    else assert.equal(doubt, null)
  })
}

test('a hierarchy with several controllers is one tree', () => {
  const table = view(['/c cgroup rw,pids,memory,cpu,cpuacct', '/u cgroup2 rw'])
  assert.deepEqual(podTrees('/u', table), ['/u', '/c'])
})

test('a path in the table has its escapes undone', () => {
  const { mountinfo } = view(['/sys/a\\040b\\134c cgroup2 rw'])
  assert.deepEqual(cgroupMounts(mountinfo), [{ path: '/sys/a b\\c', hierarchy: 2 }])
})

test('optional fields of a line, none or several, do not shift what is read', () => {
  const lines =
    '31 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n' +
    '32 24 0:28 / /x rw shared:4 master:1 propagate_from:2 - cgroup cgroup rw,name=systemd'
  const found = cgroupMounts(lines).map(({ path }) => path)
  assert.deepEqual(found, ['/sys/fs/cgroup', '/x'])
})

test('no text makes the reading of a mount table fail', () => {
  const word = fc.constantFrom('cgroup2', 'cgroup', ' - ', '-', ' ', '\n', '/a', '\\040', 'rw,pids', '')
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(word).map((words) => words.join(' ')),
      ),
      (mountinfo) => {
        const table: CgroupView = { mountinfo, has: () => true }
        const root = findCgroupRoot(table)
        assert.ok(root === null || podTrees(root, table)[0] === root)
      },
    ),
  )
})
