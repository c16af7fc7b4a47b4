// Objects of OpenELB and MetalLB as if they were ours: the conversion of `bellhop migrate`, done again whenever one of them changes,
// with names and ages kept, so that who replaces the controller keeps the manifests. A pure function of what the cluster holds.

import { asObject, asText, identityOf, type RawObject } from '../k8s/json.ts'
import { migrate, type Product } from '../migrate/migrate.ts'
import type { Migrated, Note } from '../migrate/types.ts'

/** On what stands in for a foreign object: the object that it was made of, for people. */
const adoptedAnnotation = 'bellhop.io/adopted-from'

/** What the conversion says of one foreign object. */
export interface AdoptionNote extends Note {
  /** `OpenELB Eip eip-1`. */
  readonly title: string
}

export interface Adopted {
  /** For `ClusterStore.standIn`. */
  readonly objects: readonly RawObject[]
  readonly notes: readonly AdoptionNote[]
}

const uidPrefix = 'adopted/'

/** Whether an object of the view only stands in for a foreign one: there is nothing of that name to write to. */
export const isAdopted = ({ uid }: { readonly uid: string }): boolean => uid.startsWith(uidPrefix)

/**
 * Converts. Objects that are being deleted are gone already. Of two products that claim one name the first of `products` wins, as
 * does an object of ours over both (which is for the store to see to).
 */
export function adopt(foreign: readonly RawObject[], products: readonly Product[]): Adopted {
  const present = currentOnes(foreign).filter((raw) => metadataOf(raw)?.['deletionTimestamp'] === undefined)
  const ages = new Map(present.map((raw) => [`${poolKinds.has(raw['kind'])} ${identityOf(raw).name}`, createdAt(raw)]))
  const objects = new Map<string, RawObject>()
  const notes: AdoptionNote[] = []
  for (const from of products) {
    const { objects: made, without } = migrate(present, { from })
    for (const migrated of made) {
      const { kind, metadata } = migrated.object
      const key = `${kind} ${metadata.name}`
      if (!objects.has(key)) objects.set(key, standIn(migrated, ages.get(`${kind === 'VipPool'} ${metadata.name}`)))
    }
    for (const { title, notes: told } of [...made.flatMap(({ origins }) => origins), ...without])
      notes.push(...told.map((note) => ({ title, ...note })))
  }
  return { objects: [...objects.values()], notes }
}

function standIn({ object, origins }: Migrated, creationTimestamp: string | undefined): RawObject {
  const { name } = object.metadata
  return {
    ...object,
    metadata: {
      name,
      uid: `${uidPrefix}${object.kind}/${name}`,
      generation: 0,
      // Of two pools that overlap, the older one has the address.
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
      annotations: { [adoptedAnnotation]: origins.map(({ title }) => title).join(', ') },
    },
  }
}

const poolKinds: ReadonlySet<unknown> = new Set(['Eip', 'IPAddressPool'])

const metadataOf = (raw: RawObject): RawObject | undefined => asObject(raw['metadata'])
const createdAt = (raw: RawObject): string | undefined => asText(metadataOf(raw)?.['creationTimestamp'])

const groupOf = (raw: RawObject): string => (asText(raw['apiVersion']) ?? '').split('/')[0] ?? ''

/** One of each: of an object in two versions the newer, unless Porter wrote it, for then it looks empty in there. */
export function currentOnes(foreign: readonly RawObject[]): readonly RawObject[] {
  const chosen = new Map<string, RawObject>()
  for (const raw of foreign) {
    const { namespace, name } = identityOf(raw)
    const key = [groupOf(raw), raw['kind'], namespace, name].join(' ')
    const other = chosen.get(key)
    if (other === undefined) chosen.set(key, raw)
    else chosen.set(key, newer(other, raw))
  }
  return [...chosen.values()]
}

function newer(a: RawObject, b: RawObject): RawObject {
  const [older, younger] = asText(a['apiVersion'])?.endsWith('/v1alpha1') ? [a, b] : [b, a]
  const isPorters = asObject(asObject(older['spec'])?.['config']) !== undefined
  return older['kind'] === 'BgpPeer' && isPorters ? older : younger
}
