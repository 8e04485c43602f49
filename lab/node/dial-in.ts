// Started in a pod's network namespace, with an IPC channel: makes the connections that the control plane asks for, and
// ends with it.
import { answerDials } from './dial.ts'

answerDials()
process.on('disconnect', () => process.exit(0))
