// `weft lab status`: nodes and pods of the running lab, a line each.
import { runningLab } from './find.ts'
import { agentLog } from '../state.ts'
import { agentless, readCluster, standingOf } from './standing.ts'

/** Prints how the lab stands; resolves to 0 when all is ready, else 1. */
export async function printStatus(folder: string): Promise<number> {
  const { place, record, api } = runningLab(folder)
  const { pods, missing } = standingOf(await readCluster(api), { mesh: record.mesh, controller: true })
  api.close()
  const dead = record.mesh ? await agentless(place, record.nodes) : []
  const rows = pods.map((pod) => {
    const captured = pod.captured ? 'captured' : pod.joined ? 'joined' : '-'
    return [pod.name, pod.ready ? 'ready' : 'not ready', pod.status, captured, pod.node || '-', pod.address || '-']
  })
  const lines = [
    `lab ${record.id} in ${place.folder}: ${String(record.nodes)} nodes, ${String(pods.length)} pods`,
    `  export KUBECONFIG=${place.kubeconfig}`,
    ...table([['POD', 'READY', 'STATUS', 'MESH', 'NODE', 'ADDRESS'], ...rows]),
    ...dead.map((node) => `the agent of ${node} does not run: see ${agentLog(place, node)}`),
    missing.length === 0 ? 'ready' : `waiting for:\n  ${missing.join('\n  ')}`,
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
  return missing.length === 0 && dead.length === 0 ? 0 : 1
}

function table(rows: readonly string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
