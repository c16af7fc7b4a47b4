// A served version of a CRD as a resource type. Conversion between versions is "None", so versions share one storage and
// differ in apiVersion, schema and columns only.

import { printerCell } from '../crd/printer-columns.ts'
import { compileStructuralSchema } from '../crd/structural-schema.ts'
import { type JsonObject, objectAt, objectsAt, stringAt, stringsAt, valueAt } from '../json.ts'
import { customResourceType } from '../schema/crd-type.ts'
import { ageOf } from '../table/age.ts'
import { ageColumn, labelText, nameColumn } from '../table/columns.ts'
import type { Column, ResourceType, ScalePaths } from './resource-type.ts'

/** The resource types that a CRD serves. Throws SchemaError on a schema that is not structural. */
export function customResourceTypes(crd: JsonObject): readonly ResourceType[] {
  const versions = objectsAt(crd, 'spec', 'versions')
  const storage = versions.find((version) => version['storage'] === true)
  return versions
    .filter((version) => version['served'] === true)
    .map((version) => customResource(crd, version, stringAt(storage, 'name') ?? ''))
}

function customResource(crd: JsonObject, version: JsonObject, storageVersion: string): ResourceType {
  const group = stringAt(crd, 'spec', 'group') ?? ''
  const names = objectAt(crd, 'spec', 'names')
  const plural = stringAt(names, 'plural') ?? ''
  const openApi = objectAt(version, 'schema', 'openAPIV3Schema')
  const subresources = objectAt(version, 'subresources')
  const scale = subresources['scale'] === undefined ? undefined : scalePaths(objectAt(subresources, 'scale'))
  return {
    group,
    version: stringAt(version, 'name') ?? '',
    kind: stringAt(names, 'kind') ?? '',
    plural,
    singular: stringAt(names, 'singular') ?? '',
    shortNames: stringsAt(names, 'shortNames'),
    categories: stringsAt(names, 'categories'),
    namespaced: stringAt(crd, 'spec', 'scope') === 'Namespaced',
    bucket: `${group}/${plural}`,
    type: customResourceType(openApi),
    status: subresources['status'] !== undefined,
    ...(scale === undefined ? {} : { scale }),
    generation: true,
    createOnUpdate: false,
    nameRule: 'subdomain',
    columns: printerColumns(version),
    fieldSelectors: selectableFields(version),
    custom: { schema: compileStructuralSchema(openApi), openApi, storageVersion },
  }
}

function printerColumns(version: JsonObject): readonly Column[] {
  const declared = objectsAt(version, 'additionalPrinterColumns')
  return [nameColumn, ...(declared.length === 0 ? [ageColumn] : declared.map(printerColumn))]
}

function printerColumn(declared: JsonObject): Column {
  const type = (stringAt(declared, 'type') ?? 'string') as Column['type']
  const jsonPath = stringAt(declared, 'jsonPath') ?? ''
  const format = stringAt(declared, 'format')
  const priority = declared['priority']
  return {
    name: stringAt(declared, 'name') ?? '',
    type,
    ...(format === undefined ? {} : { format }),
    description: stringAt(declared, 'description') ?? '',
    priority: typeof priority === 'number' ? priority : 0,
    cell: (object, now) => {
      const value = printerCell({ jsonPath, type }, object)
      return type === 'date' && typeof value === 'string' ? ageOf(value, now) : value
    },
  }
}

const pathOf = (jsonPath: string): readonly string[] => jsonPath.split('.').filter((part) => part !== '')

function scalePaths(scale: JsonObject): ScalePaths {
  const selectorPath = stringAt(scale, 'labelSelectorPath')
  return {
    spec: pathOf(stringAt(scale, 'specReplicasPath') ?? ''),
    status: pathOf(stringAt(scale, 'statusReplicasPath') ?? ''),
    selector: (object) => {
      if (selectorPath === undefined) return ''
      const value = valueAt(object, ...pathOf(selectorPath))
      return typeof value === 'string' ? value : labelText(objectAt(value))
    },
  }
}

function selectableFields(version: JsonObject): ResourceType['fieldSelectors'] {
  const paths = objectsAt(version, 'selectableFields').map((field) => stringAt(field, 'jsonPath') ?? '')
  return Object.fromEntries(
    paths.map((path) => [
      path.replace(/^\./, ''),
      (object: JsonObject) => String(valueAt(object, ...pathOf(path)) ?? ''),
    ]),
  )
}
