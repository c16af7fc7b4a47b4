// The cases: a folder each, with manifests as people have them and the output that is expected of them, word by word.

import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parseObjects } from '../../src/cli/migrate-input.ts'
import type { RawObject } from '../../src/k8s/json.ts'
import { type Product, productsIn } from '../../src/migrate/migrate.ts'

const folder = path.join(import.meta.dirname, 'cases')

export interface Case {
  readonly name: string
  readonly from: Product
  /** By the folder's name. */
  readonly speaker: 'controller' | 'node'
  readonly objects: readonly RawObject[]
  readonly expected: string
}

export const cases: readonly Case[] = readdirSync(folder)
  .sort()
  .map((name) => {
    const read = (file: string): string => readFileSync(path.join(folder, name, file), 'utf8')
    const objects = parseObjects(read('input.yaml'), `${name}/input.yaml`)
    const speaker = name.endsWith('-speaker-node') ? 'node' : 'controller'
    return { name, speaker, from: productsIn(objects)[0] ?? 'metallb', objects, expected: read('expected.yaml') }
  })

/** The objects of a YAML text. */
export const yaml = (text: string): readonly RawObject[] => parseObjects(text, 'test')
