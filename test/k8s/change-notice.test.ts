// Many changes, one notice; and what it is about is told once.

import { expect, test } from 'vitest'
import { type ChangeNotice, createChangeNotice } from '../../src/k8s/change-notice.ts'

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

const taken = (notice: ChangeNotice): unknown => [...notice.take()].map(([kind, keys]) => [kind, [...keys]])

test('changes of one turn are one notice, and never one from inside of them', async () => {
  let notices = 0
  const notice = createChangeNotice(() => notices++)
  notice.note('Service', 'default/web')
  notice.note('Service', 'default/api')
  notice.note('Vip', '203.0.113.10')
  notice.wake()
  expect(notices).toBe(0)
  await turn()
  expect(notices).toBe(1)
  expect(taken(notice)).toEqual([
    ['Service', ['default/web', 'default/api']],
    ['Vip', ['203.0.113.10']],
  ])
  expect(taken(notice)).toEqual([])
  await turn()
  expect(notices).toBe(1)
})

test('whoever makes a change while he is told is told again', async () => {
  const told: unknown[] = []
  const notice: ChangeNotice = createChangeNotice(() => {
    told.push(taken(notice))
    if (told.length === 1) notice.note('Node', 'n2')
  })
  notice.note('Node', 'n1')
  await turn()
  await turn()
  expect(told).toEqual([[['Node', ['n1']]], [['Node', ['n2']]]])
})
