// Bundles Bellhop into dist/: bellhop.mjs to be run, chunks that a verb loads when it needs them, one file a worker thread.
// A bundle starts in a fraction of the time and memory of the packages it is made of, and an image needs no node_modules.
//
// Workers and files beside the code. Development says `new Worker(new URL('./worker.ts', import.meta.url))` and nothing else.
// The build looks for `new URL('<relative>.ts', import.meta.url)` in src/, makes each file found so an entry of its own, named
// after its part of the house (src/bgp/speaker/worker.ts becomes bgp-worker.mjs), and puts the new name in the old one's place.
// All output lies flat in dist/, so that import.meta.url means the same folder wherever esbuild puts the code.
//
// koffi stays a package: it finds its native library by its own place in node_modules, so both are copied to dist/node_modules,
// without the sources. Which architectures are copied depends on what npm has installed, i.e. on the machine that builds.
import { cpSync, existsSync, globSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { builtinModules } from 'node:module'
import path from 'node:path'
import { build, type Plugin } from 'esbuild'

const repositoryRoot = path.resolve(import.meta.dirname, '..')
const WORKER_URL = /new URL\(\s*(['"])(\.{1,2}\/[^'"]+\.ts)\1\s*,\s*import\.meta\.url\s*\)/g

export interface BundleOptions {
  /** The folder with package.json, src/ and node_modules/. */
  readonly root: string
  /** The module to run, relative to root. */
  readonly entry: string
  readonly outputFolder: string
}

export interface Bundle {
  /** Names of the files to be run: the entry and the workers. */
  readonly entries: readonly string[]
  /** JavaScript written, in bytes, without source maps. */
  readonly bytes: number
}

/** Writes a bundle into an output folder that is emptied first. Throws when something does not resolve. */
export async function bundle(options: BundleOptions): Promise<Bundle> {
  const { root, outputFolder } = options
  rmSync(outputFolder, { recursive: true, force: true })
  const workers = findWorkers(path.join(root, 'src'))
  const result = await build({
    absWorkingDir: root,
    entryPoints: {
      bellhop: path.join(root, options.entry),
      ...Object.fromEntries([...workers].map(([file, name]) => [name, file])),
    },
    outdir: outputFolder,
    outExtension: { '.js': '.mjs' },
    chunkNames: '[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    sourcemap: 'linked',
    sourcesContent: false,
    legalComments: 'linked',
    external: ['koffi'],
    // Packages in CommonJS call require() for Node's own modules, which an ES module does not have.
    banner: {
      js: "import { createRequire as bundleRequire } from 'node:module'; const require = bundleRequire(import.meta.url);",
    },
    plugins: [workerUrls(workers), versionOnly(root), lazyBuiltins],
    metafile: true,
    logLevel: 'warning',
  })
  copyKoffi(root, outputFolder)
  copyCrds(root, outputFolder)
  const scripts = Object.entries(result.metafile.outputs).filter(([file]) => file.endsWith('.mjs'))
  return {
    entries: ['bellhop.mjs', ...[...workers.values()].map((name) => `${name}.mjs`)],
    bytes: scripts.reduce((sum, [, output]) => sum + output.bytes, 0),
  }
}

/** Every module of src/ that is named by a URL, i.e. run as a worker, with the name of its bundle. */
function findWorkers(sourceFolder: string): ReadonlyMap<string, string> {
  const workers = new Map<string, string>()
  for (const file of globSync('**/*.ts', { cwd: sourceFolder })) {
    const from = path.join(sourceFolder, file)
    for (const [, , relative = ''] of readFileSync(from, 'utf8').matchAll(WORKER_URL)) {
      const worker = path.resolve(path.dirname(from), relative)
      const [part = ''] = path.relative(sourceFolder, worker).split(path.sep)
      const name = `${part}-${path.basename(worker, '.ts')}`
      if (!existsSync(worker)) throw new Error(`${file} names ${relative}, which does not exist`)
      if ([...workers].some(([other, taken]) => taken === name && other !== worker)) {
        throw new Error(`two workers would be called ${name}: rename one of them`)
      }
      workers.set(worker, name)
    }
  }
  return workers
}

function workerUrls(workers: ReadonlyMap<string, string>): Plugin {
  return {
    name: 'worker-urls',
    setup(plugin) {
      plugin.onLoad({ filter: /[/\\]src[/\\].*\.ts$/ }, ({ path: file }) => {
        const source = readFileSync(file, 'utf8')
        if (file.includes('node_modules') || !source.includes('import.meta.url')) return undefined
        const contents = source.replaceAll(WORKER_URL, (whole, _quote, relative: string) => {
          const name = workers.get(path.resolve(path.dirname(file), relative))
          return name === undefined ? whole : `new URL('./${name}.mjs', import.meta.url)`
        })
        return { contents, loader: 'ts' }
      })
    },
  }
}

/** Of package.json only the version is wanted in the bundle. */
function versionOnly(root: string): Plugin {
  return {
    name: 'version-only',
    setup(plugin) {
      plugin.onLoad({ filter: /[/\\]package\.json$/ }, ({ path: file }) => {
        if (path.dirname(file) !== root) return undefined
        const { version } = JSON.parse(readFileSync(file, 'utf8'))
        return { contents: JSON.stringify({ version }), loader: 'json' }
      })
    },
  }
}

// An ES module that imports a module of Node's gets every export of it evaluated, and some exports are getters that load what they
// name: of node:http all of fetch and WebSocket, of node:crypto WebCrypto, of node:util a parser of arguments. Asked for in the way
// of CommonJS they stay getters, and a process has in memory what it uses.
const lazyBuiltins: Plugin = {
  name: 'lazy-builtins',
  setup(plugin) {
    plugin.onResolve({ filter: new RegExp(`^(node:)?(${builtinModules.join('|')})$`) }, ({ path: name }) => ({
      path: name.startsWith('node:') ? name : `node:${name}`,
      namespace: 'lazy-builtins',
    }))
    plugin.onLoad({ filter: /.*/, namespace: 'lazy-builtins' }, ({ path: name }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(name)})`,
    }))
  },
}

function copyKoffi(root: string, outputFolder: string): void {
  const from = path.join(root, 'node_modules')
  const to = path.join(outputFolder, 'node_modules')
  if (!existsSync(path.join(from, 'koffi'))) return
  const scripts = globSync(['*.{js,cjs}', 'src/**/*.{js,cjs}'], { cwd: path.join(from, 'koffi') })
  for (const file of ['package.json', 'LICENSE.txt', ...scripts]) {
    cpSync(path.join(from, 'koffi', file), path.join(to, 'koffi', file))
  }
  // The image is Debian: the twins for musl would only weigh.
  const native = readdirSync(path.join(from, '@koromix')).filter((name) => name.startsWith('koffi-linux-'))
  for (const name of native) {
    cpSync(path.join(from, '@koromix', name), path.join(to, '@koromix', name), {
      recursive: true,
      filter: (file) => !path.basename(file).startsWith('musl_'),
    })
  }
}

/** For `bellhop crds`. */
function copyCrds(root: string, outputFolder: string): void {
  const from = path.join(root, 'crds')
  if (!existsSync(from)) return
  mkdirSync(path.join(outputFolder, 'crds'), { recursive: true })
  cpSync(from, path.join(outputFolder, 'crds'), { recursive: true })
}

if (import.meta.main) {
  const outputFolder = path.join(repositoryRoot, 'dist')
  const { entries, bytes } = await bundle({ root: repositoryRoot, entry: 'src/cli/main.ts', outputFolder })
  console.log(
    `${path.relative(process.cwd(), outputFolder)}/: ${entries.join(', ')}; ${(bytes / 1e6).toFixed(1)} MB of JavaScript`,
  )
}
