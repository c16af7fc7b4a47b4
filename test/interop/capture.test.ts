// The judge has to be able to say no: a message with a mistake, and the same one without.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { systemExec } from '../../src/runtime/exec.ts'
import { describeWith } from '../support/privileges.ts'
import { ip } from './bench.ts'
import { readCapture } from './capture.ts'

const update = (asPathLength: string): string =>
  `${'ff'.repeat(16)} 0034 02 0000 0014 400101 00 4002${asPathLength} 02010000fc00 400304 0a000005 00000005 20cb00710a`

describeWith({ programs: ['tshark', 'text2pcap'] }, 'the reading of a capture', () => {
  test.each([
    ['finds nothing wrong with a good UPDATE', '06', 0],
    ['complains of an AS_PATH that is longer than the message', 'f6', 1],
  ])('%s', async (_what, asPathLength, complaintCount) => {
    const directory = mkdtempSync(path.join(tmpdir(), 'bhcap-'))
    try {
      const octets = update(asPathLength).replaceAll(' ', '').match(/../g) ?? []
      const [text, file] = [path.join(directory, 'message.txt'), path.join(directory, 'message.pcap')]
      writeFileSync(text, `000000 ${octets.join(' ')}\n`)
      const made = await systemExec('text2pcap', ['-q', '-4', '10.9.0.10,10.9.0.1', '-T', '40000,179', text, file])
      expect(made.status).toBe(0)
      const { messageTypes, complaints } = await readCapture(file, ip('10.9.0.10'))
      expect([...messageTypes]).toEqual([2])
      expect(complaints).toHaveLength(complaintCount)
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})
