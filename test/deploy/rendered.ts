// What `kubectl apply -k deploy/base` would send, and the examples, as objects. kubectl itself renders: it is what users run.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parseAllDocuments } from 'yaml'
import type { Json, JsonObject } from '../../src/lab/apiserver/json.ts'

const repositoryRoot = path.resolve(import.meta.dirname, '../..')

const documents = (text: string): readonly JsonObject[] =>
  parseAllDocuments(text, { version: '1.1' }).map((document) => document.toJS())

/** Every object of the base, in the order in which kubectl applies them. Needs kubectl in PATH. */
export const renderBase = (): readonly JsonObject[] => render('deploy/base')

/** The same of the overlay whose agents may speak BGP. */
export const renderNodeSpeakers = (): readonly JsonObject[] => render('deploy/node-speakers')

/** The Job that cleans up, and its rights. */
export const renderUninstall = (): readonly JsonObject[] => render('deploy/uninstall')

const render = (folder: string): readonly JsonObject[] =>
  documents(execFileSync('kubectl', ['kustomize', path.join(repositoryRoot, folder)], { encoding: 'utf8' }))

/** The BgpPeers that show how nodes speak for themselves. */
export const nodeSpeakerExamples: readonly JsonObject[] = documents(
  readFileSync(path.join(repositoryRoot, 'deploy/node-speakers/example.yaml'), 'utf8'),
)

/** A pool on the nodes' own link. */
export const layer2Examples: readonly JsonObject[] = documents(
  readFileSync(path.join(repositoryRoot, 'deploy/layer2/example.yaml'), 'utf8'),
)

/** Every object of deploy/examples. */
export const examples: readonly JsonObject[] = readdirSync(path.join(repositoryRoot, 'deploy/examples'))
  .filter((file) => file.endsWith('.yaml'))
  .flatMap((file) => documents(readFileSync(path.join(repositoryRoot, 'deploy/examples', file), 'utf8')))

/** The value at a path of keys and indices, or undefined. */
export function at(object: Json | undefined, ...keys: readonly (string | number)[]): Json | undefined {
  return keys.reduce<Json | undefined>((value, key) => {
    if (Array.isArray(value) && typeof key === 'number') return value[key]
    return isObject(value) ? value[key] : undefined
  }, object)
}

export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const listAt = (object: Json | undefined, ...keys: readonly (string | number)[]): readonly Json[] => {
  const value = at(object, ...keys)
  return Array.isArray(value) ? value : []
}

/** `Kind/name`. */
export const nameOf = (object: JsonObject): string => `${object['kind']}/${at(object, 'metadata', 'name')}`
