// The lab's kubectl, on programs that end when the test says so.

import { expect, test } from 'vitest'
import { createLabKubectl } from '../../src/lab/lab-kubectl.ts'
import type { ExecResult } from '../../src/runtime/exec.ts'

test('Who tidies up waits for what runs, and nothing begins after that', async () => {
  const begun: string[] = []
  const ends: ((result: ExecResult) => void)[] = []
  const exec = (_: string, args: readonly string[]): Promise<ExecResult> => {
    begun.push(args.join(' '))
    return new Promise((resolve) => ends.push(resolve))
  }
  const { kubectl, close } = createLabKubectl(exec, 'kubectl', '/nowhere/kubeconfig')
  const applied = kubectl(['apply', '-k', 'crds'])
  let closed = false
  const closing = close().then(() => {
    closed = true
  })
  expect(await kubectl(['apply', '-f', 'more.yaml'])).toMatchObject({
    status: 1,
    stderr: 'the lab is being taken away',
  })
  expect({ begun, closed }).toEqual({ begun: ['apply -k crds'], closed: false })
  const done = { status: 0, stdout: 'created', stderr: '' }
  ends[0]?.(done)
  await closing
  expect([await applied, closed]).toEqual([done, true])
})
