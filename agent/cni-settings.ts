// The agent's settings for capturing pods before they start (CNI). A part of the table in config.ts.

import type { Settings } from './settings.ts'

export const CNI_SETTINGS = {
  cni: {
    type: 'boolean',
    default: false,
    describe: 'Put the CNI plug-in on the node, so that pods are captured before their first process runs',
  },
  'cni-bin-dir': { type: 'string', default: '/opt/cni/bin', describe: 'Folder of the node’s CNI plug-ins' },
  'cni-conf-dir': { type: 'string', default: '/etc/cni/net.d', describe: 'Folder of the node’s CNI configuration' },
  'cni-state-dir': {
    type: 'string',
    default: '/var/lib/weft/cni',
    describe: 'Folder of what the plug-in asks while no agent runs; it outlives the machine’s restart',
  },
  'cni-open-wait-ms': {
    type: 'number',
    default: 2000,
    min: 0,
    max: 60_000,
    describe: 'How long the start of a pod that may go direct is held up for its capture',
  },
  'cni-closed-wait-ms': {
    type: 'number',
    default: 10_000,
    min: 0,
    max: 240_000,
    describe: 'How long the start of a fail-closed pod waits for its capture before it is refused, to be tried again',
  },
} as const satisfies Settings
