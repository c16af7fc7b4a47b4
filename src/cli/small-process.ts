// How the process of an agent stays small. It is idle nearly always and short of memory on every node of a cluster, so that code which
// was optimised costs more than it will ever bring back: with V8's optimising compilers 8 to 10 MB more are resident (their own
// program, and what they make), and the first rules stand no sooner (docs/benchmarks.md). How large the room for short-lived objects
// is has to be known before the program runs: that is in the manifest.

import { setFlagsFromString } from 'node:v8'

/** To be called before anything else is done. Code is interpreted, or compiled without optimisation, from now on, in all threads. */
export function staySmall(): void {
  for (const flag of ['--no-opt', '--no-maglev', '--optimize-for-size']) setFlagsFromString(flag)
}
