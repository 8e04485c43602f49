// `weft lab down`: removes all of a lab, whatever state it is in, running, crashed or half removed. Idempotent.
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { unmountBpffs } from '../bpffs.ts'
import { findCgroup2, labCgroup, removeCgroup } from '../node/cgroup.ts'
import { removeNetwork } from '../node/network.ts'
import { AGENT_STOP_MS, type LabPlace, isRunning, labPlace, readRecord, removeState } from '../state.ts'
import { requireMachine } from './machine.ts'

const STOP_POLL_MS = 20

/** Ends the lab of a state folder, and says so. */
export async function down(folder: string): Promise<void> {
  requireMachine()
  const place = labPlace(folder)
  const removed = await tearDown(place)
  process.stdout.write(removed ? `the lab in ${place.folder} is gone\n` : `no lab in ${place.folder}\n`)
}

/** Removes processes, cgroups, namespaces and files of a lab; true when there was anything. */
export async function tearDown(place: LabPlace): Promise<boolean> {
  const record = readRecord(place)
  let found = record !== null
  if (record && isRunning(record) && record.controlPid !== process.pid) {
    // The control plane gives agents the time to let go of what they captured. (`up` ends itself when it is told so.)
    process.kill(record.controlPid, 'SIGTERM')
    const deadline = Date.now() + AGENT_STOP_MS + 2_000
    while (isRunning(record) && Date.now() < deadline) await sleep(STOP_POLL_MS)
  }
  const cgroup2 = findCgroup2()
  if (cgroup2 !== undefined) {
    const cgroup = labCgroup(cgroup2, place.id)
    found ||= existsSync(cgroup)
    await removeCgroup(cgroup)
  }
  // with the processes gone, this is the last that holds what agents have pinned
  found = (await unmountBpffs(place.bpf)) || found
  found = (await removeNetwork(place.id)).length > 0 || found
  // Where there was no lab, the folder is somebody else's, whatever its files are called.
  if (found) await removeState(place)
  return found
}
