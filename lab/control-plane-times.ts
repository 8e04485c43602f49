// Times that the control plane and `weft lab down` must agree on.

/** Agents get this long to let go of what they captured. */
export const AGENT_STOP_MS = 5_000
