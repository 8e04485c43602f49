// What the admin endpoint answers questions from: the node as it stands, all of it by one snapshot.

import type { AdminPages } from '../telemetry/admin.ts'
import { Authorizing, type AuthorizingGround } from './authorizing.ts'
import { Explaining, type ExplainGround } from './explaining.ts'
import { KnownSnapshot } from './known-snapshot.ts'
import type { Inventory } from '../model/snapshot.ts'

/** What is asked of the node for answers. */
export interface QuestionsGround extends Omit<ExplainGround, 'snapshot'>, Omit<AuthorizingGround, 'snapshot'> {
  /** As it stands; it has a version. */
  inventory(): Inventory
}

/** The pages that answer questions. */
export function questionPages(ground: QuestionsGround): Required<Pick<AdminPages, 'explain' | 'authz'>> {
  const known = new KnownSnapshot(() => ground.inventory())
  const snapshot = (): ReturnType<KnownSnapshot['now']> => known.now()
  const explaining = new Explaining({
    snapshot,
    ejectedNow: () => ground.ejectedNow(),
    isCapturedHere: (uid) => ground.isCapturedHere(uid),
  })
  const authorizing = new Authorizing({
    snapshot,
    standings: () => ground.standings(),
    keySetOf: (name) => ground.keySetOf(name),
  })
  return {
    explain: async (question) => explaining.answer(question),
    authz: async (question) => authorizing.answer(question),
  }
}
