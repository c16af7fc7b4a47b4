// What a user sees after `kubectl apply` of a BgpConf.
import { describe, expect, test } from 'vitest'
import { judge, RULES_NOT_RUN, yaml } from './crd-files.ts'

const bgpConf = judge('BgpConf')
const conf = (spec: string) => yaml(`{metadata: {name: default}, spec: ${spec}}`)

describe('a BgpConf is accepted', () => {
  test.each([
    ['with an AS number alone', '{asn: 64512}'],
    ['with a four-octet AS number', '{asn: 4200000000}'],
    ['that never listens', '{asn: 64512, listenPort: 0}'],
    ['beside another BGP daemon', '{asn: 64512, listenPort: 1179, redirectFromPort: 179}'],
    ['with addresses of both families to listen on', '{asn: 64512, listenAddresses: ["10.0.0.5", "fd00::5"]}'],
    ['with named communities', '{asn: 64512, communities: {premium: "64512:100", large-eu: "64512:1:2"}}'],
    ['with a null where nothing is wanted', '{asn: 64512, routerId: null}'],
  ])('%s', (_, spec) => {
    expect(bgpConf(conf(spec))).toMatchObject({ errors: [], unknown: [] })
  })

  test('and filled in', () => {
    expect(bgpConf(conf('{asn: 64512}')).stored['spec']).toEqual({
      asn: 64512,
      listenPort: 179,
      listenAddresses: [],
      gracefulRestart: { enabled: false, restartSeconds: 120, longLivedSeconds: 0 },
      origin: 'IGP',
      maxNextHops: 0,
      withdrawGuard: { percent: 50, minimumVips: 20 },
      drainGraceSeconds: 30,
      communities: {},
    })
  })

  test('and what is filled in by half is completed', () => {
    expect(bgpConf(conf('{asn: 1, withdrawGuard: {percent: 20}}')).stored['spec']).toMatchObject({
      withdrawGuard: { percent: 20, minimumVips: 20 },
    })
  })
})

const reserved = (asn: number): string =>
  `spec.asn: Invalid value: ${asn}: AS 23456 and 65535 are reserved and cannot be used on a session`

describe('a BgpConf is refused', () => {
  test.each([
    ['{}', ['spec.asn: Required value', RULES_NOT_RUN]],
    ['{asn: 0}', ['spec.asn: Invalid value: 0: spec.asn in body should be greater than or equal to 1']],
    [
      '{asn: 4294967295}',
      ['spec.asn: Invalid value: 4294967295: spec.asn in body should be less than or equal to 4294967294'],
    ],
    ['{asn: 23456}', [reserved(23456)]],
    ['{asn: 65535}', [reserved(65535)]],
    [
      '{asn: "64512"}',
      ['spec.asn: Invalid value: "string": spec.asn in body must be of type integer: "string"', RULES_NOT_RUN],
    ],
    [
      '{asn: 1.5}',
      [
        'spec.asn: Invalid value: "float64": spec.asn in body must be of type int64: "float64"',
        '<nil>: Invalid value: "": Checked value must be of type integer with format int64 in spec.asn',
        RULES_NOT_RUN,
      ],
    ],
    [
      '{asn: 1, routerId: 0.0.0.0}',
      ['spec.routerId: Invalid value: "0.0.0.0": must be written as an IPv4 address other than 0.0.0.0'],
    ],
    [
      '{asn: 1, routerId: "::1"}',
      ['spec.routerId: Invalid value: "::1": must be written as an IPv4 address other than 0.0.0.0'],
    ],
    [
      '{asn: 1, redirectFromPort: 179}',
      ['spec.redirectFromPort: Invalid value: leads connections to listenPort, which must be another port and not 0'],
    ],
    [
      '{asn: 1, listenPort: 65536}',
      ['spec.listenPort: Invalid value: 65536: spec.listenPort in body should be less than or equal to 65535'],
    ],
    [
      '{asn: 1, listenAddresses: [10.0.0.256]}',
      ['spec.listenAddresses[0]: Invalid value: "10.0.0.256": must be an IPv4 or IPv6 address'],
    ],
    ['{asn: 1, listenAddresses: [10.0.0.5, 10.0.0.5]}', ['spec.listenAddresses[1]: Duplicate value: "10.0.0.5"']],
    [
      '{asn: 1, origin: EGP}',
      ['spec.origin: Unsupported value: "EGP": supported values: "IGP", "INCOMPLETE"', RULES_NOT_RUN],
    ],
    [
      '{asn: 1, gracefulRestart: {restartSeconds: 4096}}',
      [
        'spec.gracefulRestart.restartSeconds: Invalid value: 4096: spec.gracefulRestart.restartSeconds in body should be less than or equal to 4095',
      ],
    ],
    [
      '{asn: 1, withdrawGuard: {percent: 0}}',
      [
        'spec.withdrawGuard.percent: Invalid value: 0: spec.withdrawGuard.percent in body should be greater than or equal to 1',
      ],
    ],
  ])('%s', (spec, errors) => {
    expect(bgpConf(conf(spec)).errors).toEqual(errors)
  })

  test.each(['64512', '70000:1', '1:2:3:4', '64512:', '064512:1', '4294967296:1:1', 'no-export'])(
    'with "%s" for a community',
    (value) => {
      expect(bgpConf(conf(`{asn: 1, communities: {premium: "${value}"}}`)).errors).toEqual([
        `spec.communities[premium]: Invalid value: "${value}": "${value}" is not a community: write a standard one as 64512:100 (both at most 65535) or a large one as 64512:1:2 (each at most 4294967295)`,
      ])
    },
  )

  test('with the name of a well-known community given to another one', () => {
    expect(bgpConf(conf('{asn: 1, communities: {no-export: "1:1"}}')).errors).toEqual([
      'spec.communities: Invalid value: the name of a well-known community cannot be given to another one',
    ])
  })
})

test('a misspelt field is named, for the warning that kubectl prints', () => {
  expect(bgpConf(conf('{asn: 1, routerID: 10.0.0.5, gracefulRestart: {enable: true}}')).unknown).toEqual([
    'spec.routerID',
    'spec.gracefulRestart.enable',
  ])
})

test('each speaker has an entry of its own in the status', () => {
  const status = { speakers: [{ name: 'bellhop-a' }, { name: 'bellhop-b' }, { name: 'bellhop-a' }] }
  expect(bgpConf({ ...conf('{asn: 1}'), status }).errors).toEqual([
    'status.speakers[2]: Duplicate value: {"name":"bellhop-a"}',
  ])
})
