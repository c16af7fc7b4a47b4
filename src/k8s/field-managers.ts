// Under which names speakers write what is theirs alone in lists that they share. Whoever clears up after one that is gone writes in
// its name, so both sides have them from here.

/** Whoever leads: what it writes is not this or that replica's. */
export const leaderManager = 'bellhop-leader'

/** What the API server accepts as a name. */
const fieldManagerMax = 128

/** A controller replica, by its name. */
export const replicaManager = (replica: string): string => `bellhop-${replica}`.slice(0, fieldManagerMax)

/** The agent of a node. */
export const agentManager = (node: string): string => `bellhop-agent-${node}`.slice(0, fieldManagerMax)
