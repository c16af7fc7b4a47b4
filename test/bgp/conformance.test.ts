// docs/conformance.md keeps up with the code: the tests it names exist, and no RFC that the engines cite is missing from it.

import { existsSync, globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { repositoryRoot } from '../../src/lab/netns/node-program.ts'

const read = (file: string): string => readFileSync(path.join(repositoryRoot, file), 'utf8')
const rows = read('docs/conformance.md')
  .split('\n')
  .filter((line) => line.startsWith('| '))

test('the tests that are named exist', () => {
  const named = rows.flatMap((row) => [...row.matchAll(/`([a-z0-9/.-]+)`/g)].map(([, file = '']) => file))
  expect(named.length).toBeGreaterThan(50)
  expect(named.filter((file) => !existsSync(path.join(repositoryRoot, 'test', file)))).toEqual([])
})

test('every row that claims something says where it is tested', () => {
  const claims = rows
    .map((row) => row.split(' | '))
    .filter(([, done = '']) => done.trim() !== '' && done !== '|' && !/^(done|---)$/.test(done))
  expect(claims.length).toBeGreaterThan(30)
  expect(claims.filter(([, , tested = '']) => !tested.includes('`'))).toEqual([])
})

test('every RFC that src/bgp and src/bfd cite has its place', () => {
  const documented = new Set([...rows.join('\n').matchAll(/\b(\d{4})\b/g)].map(([, number]) => number))
  const cited = new Set(
    globSync('src/{bgp,bfd}/**/*.ts', { cwd: repositoryRoot }).flatMap((file) =>
      [...read(file).matchAll(/RFC (\d{4})\b/g)].map(([, number]) => number),
    ),
  )
  expect([...cited].filter((number) => !documented.has(number)).sort()).toEqual([])
})
