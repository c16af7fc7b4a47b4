// The bundle of a small product with everything the real one has that is hard to bundle: a worker thread that is named by a
// URL, a package in CommonJS that requires Node's modules, a native library, and a verb that is loaded only when asked for.
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bundle } from '../../scripts/build.ts'

const repositoryRoot = path.resolve(import.meta.dirname, '../..')
const run = promisify(execFile)

const files = {
  'package.json': '{"name": "fixture", "version": "9.8.7", "secret": "not for the bundle"}',
  'crds/things.yaml': 'kind: Thing\n',
  'src/cli/main.ts': `
    import pino from 'pino'
    import packageJson from '../../package.json' with { type: 'json' }
    const verbs: Record<string, () => Promise<void>> = {
      version: async () => console.log(packageJson.version),
      log: async () => pino(pino.destination({ sync: true })).info({ event: 'logged' }),
      speak: async () => (await import('../bgp/speaker/start.ts')).start(),
      native: async () => (await import('../bgp/speaker/native.ts')).processId(),
    }
    await verbs[process.argv[2] ?? '']?.()`,
  'src/bgp/speaker/start.ts': `
    import { once } from 'node:events'
    import { Worker } from 'node:worker_threads'
    export async function start(): Promise<void> {
      const worker = new Worker(new URL('./worker.ts', import.meta.url))
      console.log((await once(worker, 'message'))[0])
    }`,
  'src/bgp/speaker/worker.ts': `
    import { parentPort } from 'node:worker_threads'
    const greeting: string = 'OPEN'
    parentPort?.postMessage(greeting)`,
  'src/bgp/speaker/native.ts': `
    import koffi from 'koffi'
    export function processId(): void {
      console.log(koffi.load(null).func('int getpid()')() === process.pid)
    }`,
}

const root = mkdtempSync(path.join(tmpdir(), 'bellhop-build-'))
const away = mkdtempSync(path.join(tmpdir(), 'bellhop-dist-'))
const outputFolder = path.join(away, 'dist')

beforeAll(async () => {
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true })
    writeFileSync(path.join(root, file), text)
  }
  symlinkSync(path.join(repositoryRoot, 'node_modules'), path.join(root, 'node_modules'))
  await bundle({ root, entry: 'src/cli/main.ts', outputFolder })
  // Only the bundle is left, as in an image.
  rmSync(root, { recursive: true })
})

afterAll(() => {
  rmSync(root, { recursive: true, force: true })
  rmSync(away, { recursive: true, force: true })
})

describe('the bundle, with nothing beside it', () => {
  test.each([
    ['version', /^9\.8\.7$/, 'knows its version'],
    ['log', /"event":"logged"/, 'runs packages in CommonJS'],
    ['speak', /^OPEN$/, 'starts its worker threads'],
    ['native', /^true$/, 'loads the native library'],
  ])('%s: %s', async (verb, output) => {
    const { stdout } = await run(process.execPath, [path.join(outputFolder, 'bellhop.mjs'), verb])
    expect(stdout.trim()).toMatch(output)
  })

  test('names workers after their part of the house, carries the CRDs, and leaves musl out', () => {
    const names = readdirSync(outputFolder, { recursive: true, encoding: 'utf8' })
    expect(names).toEqual(expect.arrayContaining(['bellhop.mjs', 'bgp-worker.mjs', 'crds/things.yaml']))
    expect(names.filter((name) => name.endsWith('.node')).map((name) => path.basename(path.dirname(name)))).toEqual([
      expect.stringMatching(/^linux_/),
    ])
  })

  test('keeps what one verb needs out of the others', () => {
    const map = JSON.parse(readFileSync(path.join(outputFolder, 'bellhop.mjs.map'), 'utf8'))
    const sources: readonly string[] = map.sources
    expect(sources.some((source) => source.endsWith('src/cli/main.ts'))).toBe(true)
    expect(sources.some((source) => source.endsWith('speaker/start.ts'))).toBe(false)
  })
})
