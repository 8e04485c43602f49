// What policies say of a call, for people. Pure.

import type { TokenLook } from '../model/explain/token-look.ts'
import type { ExplainedVerdict, PolicyLook } from '../model/explain/verdicts.ts'

/** Pods that are named one by one. */
const NAMED = 3

/** What is said at some pods: a line, and those that follow from it. */
export function verdictLines(verdict: ExplainedVerdict): string[] {
  const { pods, port, why, asks, tokens, audited, dryRun, policies } = verdict
  const more = pods.length > NAMED ? ` and ${pods.length - NAMED} more` : ''
  const at = `at ${pods.slice(0, NAMED).join(', ')}${more} port ${port}`
  return [
    `${at}: ${WORDS[verdict.verdict]}: ${why}`,
    ...[
      ...(tokens === null ? [] : tokenLines(tokens)),
      ...asks.map(({ provider, by, isKnown }) => {
        return isKnown
          ? `${provider} is asked first, for ${by}: taken to agree`
          : `${by} asks ${provider}, which there is not`
      }),
      ...policies.map(lookText),
      ...(audited.length === 0 ? [] : [`noted for ${audited.join(', ')}`]),
      ...(dryRun === null ? [] : [`in dry run: ${dryRun}`]),
    ].map((line) => `  ${line}`),
  ]
}

const WORDS: Readonly<Record<ExplainedVerdict['verdict'], string>> = {
  allowed: 'allowed',
  denied: 'DENIED',
  unguarded: 'NOT ENFORCED',
}

function lookText({ policy, action, dryRun, matched, failed }: PolicyLook): string {
  const name = `${action} ${policy}${dryRun ? ' (dry run)' : ''}`
  if (matched !== null) return `${name} matches by rule ${matched}`
  const why = failed.map(({ rule, field }) => `rule ${rule} fails by ${field}`).join('; ')
  return `${name} does not match: ${why === '' ? 'it has no rules' : why}`
}

function tokenLines({ places, issuers, required, found, refused }: TokenLook): string[] {
  const without = required ? 'without one it is refused' : 'without one it goes on'
  return [
    `a token is looked for at ${places.join(', ')}, of ${issuers.join(', ')}: ${without}`,
    ...(refused === null ? [] : [`refused for its tokens: ${refused.status} ${refused.reason}`]),
    ...(found === 0 || refused !== null
      ? []
      : [`${found === 1 ? '1 token is' : `${found} tokens are`} taken for good: NO SIGNATURE IS VERIFIED here`]),
  ]
}
