// Draws of chance, given the dice.

/** Random number in [0, 1), as Math.random gives. */
export type Random = () => number

/** One destination by weight. Weights of 0 never win unless it is the only destination (Istio: a lone weight is 100). */
export function draw<T extends { readonly weight: number }>(destinations: readonly T[], random: Random): T | null {
  if (destinations.length === 1) return destinations[0] ?? null
  const total = destinations.reduce((sum, { weight }) => sum + weight, 0)
  let rest = random() * total
  for (const destination of destinations) {
    rest -= destination.weight
    if (rest < 0) return destination
  }
  return null
}

/** Whether chance has it, of so many in a hundred. */
export function strikes(percent: number, random: Random): boolean {
  return percent >= 100 || (percent > 0 && random() * 100 < percent)
}
