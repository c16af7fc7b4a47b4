// Claims of two programs of one host: each has a HostClaims of its own, the kernel's names are the same.

import { afterEach, expect, test } from 'vitest'
import { type Claim, claimBytesMax, createHostClaims } from '../../src/runtime/host-claims.ts'
import { loadLibc } from '../../src/runtime/libc.ts'
import { must, type Result } from '../../src/runtime/result.ts'

const libc = must(loadLibc())
const [one, two] = [createHostClaims(libc), createHostClaims(libc)]
const name = (text: string): string => `bellhop-test/${process.pid} ${text}`
const held: Claim[] = []
afterEach(() => {
  for (const claim of held.splice(0)) claim.release()
})
const keep = (claim: Result<Claim, string>): Claim => {
  const kept = must(claim)
  held.push(kept)
  return kept
}

test('a name is one program’s until it is released, however often that is said', () => {
  const claim = keep(one.claim([name('a')]))
  expect(two.claim([name('a')])).toEqual({ ok: false, error: name('a') })
  expect(two.claim([name('ab')])).toMatchObject({ ok: true })
  claim.release()
  claim.release()
  keep(two.claim([name('a')]))
  expect(one.claim([name('a')])).toMatchObject({ ok: false })
})

test('who has a name may have it again, and it is free when the last claim is released', () => {
  const [first, second] = [keep(one.claim([name('b')])), keep(one.claim([name('b')]))]
  first.release()
  first.release()
  expect(two.claim([name('b')])).toMatchObject({ ok: false })
  second.release()
  keep(two.claim([name('b')]))
})

test('of several names all are had or none', () => {
  keep(two.claim([name('d')]))
  expect(one.claim([name('c'), name('d')])).toEqual({ ok: false, error: name('d') })
  keep(two.claim([name('c')]))
})

test('names end where the kernel’s do', () => {
  keep(one.claim(['x'.repeat(claimBytesMax)]))
  expect(() => one.claim(['x'.repeat(claimBytesMax + 1)])).toThrow('too long')
})
