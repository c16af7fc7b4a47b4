// Makes the package node-bgp from src/bgp and what it imports (src/bfd, src/net, src/runtime): dist/node-bgp, ready for `npm publish`.
// JavaScript and declarations come from the compiler, in the folders of the source; only the name of the worker's file is put
// right here, as the bundler does it for Bellhop (scripts/build.ts).

import { execFileSync } from 'node:child_process'
import { copyFileSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'

const repositoryRoot = path.resolve(import.meta.dirname, '..')
const source = path.join(repositoryRoot, 'src/bgp')

/** Writes the package into a folder that is emptied first. Throws when it does not compile. */
export function packNodeBgp(outputFolder: string): void {
  rmSync(outputFolder, { recursive: true, force: true })
  mkdirSync(outputFolder, { recursive: true })
  const compiler = path.join(repositoryRoot, 'node_modules/.bin/tsc')
  execFileSync(compiler, ['-p', path.join(source, 'tsconfig.package.json'), '--outDir', outputFolder], {
    stdio: 'inherit',
  })
  // The compiler renames imports in JavaScript, and leaves them in declarations.
  for (const file of globSync('**/*.d.ts', { cwd: outputFolder }))
    rewrite(path.join(outputFolder, file), /(from|import\()( ?)'(\.{1,2}\/[^']+)\.ts'/g, "$1$2'$3.js'")
  rewrite(path.join(outputFolder, 'bgp/speaker/worker-url.js'), './worker.ts', './worker.js')
  const manifest = JSON.parse(readFileSync(path.join(source, 'package.json'), 'utf8'))
  const exports = { '.': { types: './bgp/index.d.ts', default: './bgp/index.js' } }
  writeFileSync(path.join(outputFolder, 'package.json'), `${JSON.stringify({ ...manifest, exports }, null, 2)}\n`)
  copyFileSync(path.join(source, 'README.md'), path.join(outputFolder, 'README.md'))
}

function rewrite(file: string, from: string | RegExp, to: string): void {
  writeFileSync(file, readFileSync(file, 'utf8').replace(from, to))
}

if (import.meta.main) {
  const outputFolder = path.join(repositoryRoot, 'dist/node-bgp')
  packNodeBgp(outputFolder)
  console.log(path.relative(process.cwd(), outputFolder))
}
