// docs/fsm.md says what the code does: it is printed from the table, and this test fails when it is not up to date.

import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { renderTable } from '../../../src/bgp/fsm/render-table.ts'
import { eventNames } from '../../../src/bgp/fsm/session.ts'

const file = path.resolve(import.meta.dirname, '../../../docs/fsm.md')

test('docs/fsm.md is what the table prints', () => {
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(file, renderTable())
  expect(readFileSync(file, 'utf8')).toBe(renderTable())
})

test('the grid has a row for every event', () => {
  const rows = renderTable()
    .split('\n')
    .filter((line) => line.split(' | ').length === 7)
  // And its two header lines.
  expect(rows.length).toBe(eventNames.length + 2)
})
