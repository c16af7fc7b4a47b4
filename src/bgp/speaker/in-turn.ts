// One task after the other: what a task causes waits until that task is over. So a state machine is never asked for its next step in the
// middle of one, however deep in calls the next event comes up.

/** Runs the task, and before it returns everything that came up meanwhile; within a task it only notes the next one. */
export type InTurn = (task: () => void) => void

export function createInTurn(): InTurn {
  const tasks: (() => void)[] = []
  let isBusy = false
  return (task) => {
    tasks.push(task)
    if (isBusy) return
    isBusy = true
    try {
      for (let next = tasks.shift(); next !== undefined; next = tasks.shift()) next()
    } finally {
      isBusy = false
    }
  }
}
