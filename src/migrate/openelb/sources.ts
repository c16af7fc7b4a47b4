// OpenELB's and Porter's objects as sources. Their two API versions name fields differently; what is the same under another name is
// read by one converter.

import { asText, type RawObject } from '../../k8s/json.ts'
import { createSource, metadataOf, type Source } from '../source.ts'
import type { Origin } from '../types.ts'

export interface OpenElbSources {
  readonly confs: readonly Source[]
  readonly peers: readonly Source[]
  readonly eips: readonly Source[]
  readonly others: readonly Origin[]
}

const defaultAnnotations = ['eip.openelb.kubesphere.io/is-default-eip', 'eip.porter.kubesphere.io/is-default-eip']
/** Written by the controller on every pass. */
const stamp = 'lb.kubesphere.io/v1alpha1'
const cniLabels = ['openelb.kubesphere.io/cni', 'porter.kubesphere.io/cni']

/** Sorts raw objects of `network.kubesphere.io` into what they configure. */
export function openElbSources(objects: readonly RawObject[]): OpenElbSources {
  const sources = objects.map(sourceOf)
  const left = new Map<Source, Origin>()
  for (const source of sources) {
    const text = leftBecause(source)
    if (text !== undefined) left.set(source, { title: source.title, notes: [{ level: 'problem', path: '', text }] })
  }
  const ofKind = (...kinds: readonly string[]): readonly Source[] =>
    sources.filter((source) => kinds.includes(source.kind) && !left.has(source))
  return { confs: ofKind('BgpConf'), peers: ofKind('BgpPeer'), eips: ofKind('Eip', 'EIP'), others: [...left.values()] }
}

function sourceOf(raw: RawObject): Source {
  const kind = asText(raw['kind']) ?? ''
  const metadata = metadataOf(raw)
  return createSource(raw['spec'], 'spec', {
    product: 'OpenELB',
    kind,
    apiVersion: asText(raw['apiVersion']) ?? '',
    ...metadata,
    knownAnnotations: [...defaultAnnotations, stamp],
    title: `OpenELB ${kind} ${metadata.namespace === '' ? metadata.name : `${metadata.namespace}/${metadata.name}`}`,
  })
}

function leftBecause({ kind, labels }: Source): string | undefined {
  if (!['BgpConf', 'BgpPeer', 'Eip', 'EIP'].includes(kind)) return `the kind ${kind} has no equal in Bellhop`
  const cni = cniLabels.find((label) => labels[label] !== undefined)
  if (cni === undefined) return undefined
  return `left out: the label ${cni} tells OpenELB to leave this to the CNI. Whoever announces it does so still; take the label away and convert again if Bellhop is to do it`
}

/** Whether the object is of the first API version, whose fields have other names. */
export const isV1alpha1 = ({ apiVersion }: Source): boolean => apiVersion.endsWith('/v1alpha1')

/** The pool for Services that name none. */
export const isDefaultEip = ({ annotations }: Source): boolean =>
  defaultAnnotations.some((key) => annotations[key] === 'true')
