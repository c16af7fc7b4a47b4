// The examples are the first thing a user applies: each of our objects in them must pass the CRDs without a warning.
import { describe, expect, test } from 'vitest'
import { judge } from '../crds/crd-files.ts'
import { at, examples, layer2Examples, nameOf, nodeSpeakerExamples } from './rendered.ts'

const ours = examples.filter((object) => object['apiVersion'] === 'bellhop.io/v1alpha1')

describe('deploy/examples', () => {
  test('show all that is needed to get going', () => {
    expect(examples.map(nameOf)).toEqual([
      'BgpConf/default',
      'BgpPeer/leaf1',
      'BgpPeer/leaf2',
      'VipPool/default',
      'Deployment/whoami',
      'Service/whoami',
      'Service/whoami-local',
    ])
  })

  test.each(ours.map((object) => [nameOf(object), object] as const))('%s is valid', (_, object) => {
    expect(judge(String(object['kind']))(object)).toMatchObject({ errors: [], unknown: [] })
  })

  test.each(nodeSpeakerExamples.map((object) => [nameOf(object), object] as const))(
    'and of nodes that speak for themselves: %s is valid',
    (_, object) => {
      expect(judge('BgpPeer')(object)).toMatchObject({ errors: [], unknown: [] })
    },
  )

  test.each(layer2Examples.map((object) => [nameOf(object), object] as const))(
    'and on a link: %s is valid',
    (_, object) => {
      expect(judge('VipPool')(object)).toMatchObject({ errors: [], unknown: [] })
    },
  )

  test('select Pods that exist', () => {
    const labels = at(
      examples.find((object) => nameOf(object) === 'Deployment/whoami'),
      'spec',
      'template',
      'metadata',
      'labels',
    )
    const services = examples.filter((object) => object['kind'] === 'Service')
    expect(services.map((service) => at(service, 'spec', 'selector'))).toEqual([labels, labels])
  })
})
