// An application that says its version, or without one its pod's name, after a moment. Told to stop it listens no more at once, ends what is in flight, and
// is gone: the hard case of a rolling replacement, with no grace for whoever still sends.
import { setTimeout as sleep } from 'node:timers/promises'
import { podName, serveHttp, text } from '../../lab/apps/http-app.ts'

const WORK_MS = 20

serveHttp('versioned', 8080, async ({ path }) => {
  if (path !== '/ready') await sleep(WORK_MS)
  return text(process.env['VERSION'] ?? podName())
})
