// Reads the CRDs from crds/ as an API server would get them, and judges objects by them: pruned, defaulted, validated.
// Shared by the tests of the CRDs, so that each of them is a table of objects and messages.
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parse } from 'yaml'
import {
  type CompiledSchema,
  compileStructuralSchema,
  errorLine,
} from '../../src/lab/apiserver/crd/structural-schema.ts'
import type { JsonObject } from '../../src/lab/apiserver/json.ts'

const crdFolder = path.resolve(import.meta.dirname, '../../crds')

export interface PrinterColumn {
  readonly name: string
  readonly type: string
  readonly jsonPath: string
  readonly priority?: number
  readonly description?: string
}

export interface Crd {
  readonly file: string
  readonly text: string
  readonly metadata: { readonly name: string }
  readonly spec: {
    readonly group: string
    readonly scope: string
    readonly names: {
      readonly kind: string
      readonly plural: string
      readonly shortNames: readonly string[]
      readonly categories: readonly string[]
    }
    readonly versions: readonly [
      {
        readonly name: string
        readonly subresources: JsonObject
        readonly additionalPrinterColumns: readonly PrinterColumn[]
        readonly schema: { readonly openAPIV3Schema: JsonObject }
      },
    ]
  }
}

/** Every CRD. YAML 1.1, as kubectl reads it: there the bare words off, no and y are booleans. */
export const crds: readonly Crd[] = readdirSync(crdFolder)
  .filter((file) => file !== 'kustomization.yaml')
  .map((file) => {
    const text = readFileSync(path.join(crdFolder, file), 'utf8')
    return { ...parse(text, { version: '1.1', merge: true }), file, text }
  })

export interface Judgement {
  readonly errors: readonly string[]
  readonly unknown: readonly string[]
  readonly stored: JsonObject
}

/** A function that takes what a user applies (and what is stored, for an update) and says what the API server would. */
export function judge(kind: string): (object: JsonObject, old?: JsonObject) => Judgement {
  const crd = crds.find((candidate) => candidate.spec.names.kind === kind)
  if (!crd) throw new Error(`there is no CRD for ${kind}`)
  const schema: CompiledSchema = compileStructuralSchema(crd.spec.versions[0].schema.openAPIV3Schema)
  return (object, old) => {
    const whole: JsonObject = { apiVersion: 'bellhop.io/v1alpha1', kind, ...object }
    const pruned = schema.prune(whole)
    const stored = schema.applyDefaults(pruned.object)
    const oldStored = old && schema.applyDefaults({ apiVersion: 'bellhop.io/v1alpha1', kind, ...old })
    return { errors: schema.validate(stored, oldStored).map(errorLine), unknown: pruned.unknownPaths, stored }
  }
}

/** What a user's YAML becomes on its way to the API server. */
export const yaml = (text: string): JsonObject => parse(text, { version: '1.1' })

/** What an API server adds to errors after which it runs no CEL rule. */
export const RULES_NOT_RUN =
  '<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation'
