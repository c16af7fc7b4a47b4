import { Command } from 'commander'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { dropEmptyVariables, optionOf, settings } from '../../src/cli/settings.ts'

type Key = keyof typeof settings

/** What a verb with this one setting is told. */
function read(key: Key, args: readonly string[]): unknown {
  const command = new Command().exitOverride().configureOutput({ writeErr: () => {} })
  command.addOption(optionOf<unknown>(settings[key])).parse([...args], { from: 'user' })
  return Object.values(command.opts())[0]
}

const flagOf = (key: Key): string => settings[key].flags.split(' ')[0] ?? ''

// Setting, its default, then text and what it means: first as given by the environment, then by the flag.
const rows: readonly (readonly [Key, unknown, readonly [string, unknown], readonly [string, unknown]])[] = [
  ['kubeconfig', undefined, ['/etc/a', '/etc/a'], ['/etc/b', '/etc/b']],
  ['namespace', 'bellhop-system', ['porters', 'porters'], ['lobby', 'lobby']],
  ['name', undefined, ['bellhop-1', 'bellhop-1'], ['bellhop-2', 'bellhop-2']],
  ['node', undefined, ['node1', 'node1'], ['node2', 'node2']],
  ['serviceClass', 'bellhop.io/bgp', ['example.com/a', 'example.com/a'], ['example.com/b', 'example.com/b']],
  ['defaultClass', true, ['false', false], ['true', true]],
  ['controllerHttpPort', 7474, ['0', 0], ['65535', 65535]],
  ['adopt', [], ['openelb', ['openelb']], ['metallb, openelb', ['metallb', 'openelb']]],
  ['agentHttpPort', 7475, ['8080', 8080], ['0', 0]],
  ['backend', 'auto', ['nft', 'nft'], ['nftables', 'nftables']],
  ['enforceSourceRanges', false, ['true', true], ['false', false]],
  ['refuseUnusedPorts', false, ['false', false], ['true', true]],
  ['checkSeconds', 10, ['1', 1], ['3600', 3600]],
  ['layer2HoldSeconds', 15, ['5', 5], ['15', 15]],
  ['bfd', true, ['false', false], ['true', true]],
  ['nodeBgp', true, ['false', false], ['true', true]],
  ['record', undefined, ['/var/a', '/var/a'], ['/var/b', '/var/b']],
  ['migrateFrom', 'auto', ['openelb', 'openelb'], ['metallb', 'metallb']],
  ['migrateSpeaker', 'controller', ['node', 'node'], ['controller', 'controller']],
  ['migrateServices', undefined, ['cluster', 'cluster'], ['-', '-']],
  ['logLevel', 'info', ['debug', 'debug'], ['error', 'error']],
  ['logFormat', 'auto', ['json', 'json'], ['pretty', 'pretty']],
]

afterEach(() => vi.unstubAllEnvs())

test('every setting has a row below', () => {
  expect(rows.map(([key]) => key).sort()).toEqual(Object.keys(settings).sort())
})

describe.each(rows)('%s', (key, fallback, [inEnvironment, ofEnvironment], [asFlag, ofFlag]) => {
  test('has a default', () => {
    vi.stubEnv(settings[key].env, undefined)
    expect(read(key, [])).toEqual(fallback)
  })

  test('is taken from the environment', () => {
    vi.stubEnv(settings[key].env, inEnvironment)
    expect(read(key, [])).toEqual(ofEnvironment)
  })

  test('is taken from the flag, whatever the environment says', () => {
    vi.stubEnv(settings[key].env, inEnvironment)
    expect(read(key, [flagOf(key), asFlag])).toEqual(ofFlag)
  })

  test('keeps its default when the variable is set to nothing', () => {
    vi.stubEnv(settings[key].env, '')
    dropEmptyVariables()
    expect(read(key, [])).toEqual(fallback)
  })
})

test.each<[Key, string, string]>([
  ['controllerHttpPort', '65536', 'a whole number from 0 to 65535 is needed, not "65536"'],
  ['controllerHttpPort', '-1', 'a whole number from 0 to 65535 is needed, not "-1"'],
  ['controllerHttpPort', '80.5', 'a whole number from 0 to 65535 is needed, not "80.5"'],
  ['controllerHttpPort', '0x50', 'a whole number from 0 to 65535 is needed, not "0x50"'],
  ['agentHttpPort', 'http', 'a whole number from 0 to 65535 is needed, not "http"'],
  ['layer2HoldSeconds', '4', 'a whole number from 5 to 15 is needed, not "4"'],
  ['checkSeconds', '0', 'a whole number from 1 to 3600 is needed, not "0"'],
  ['checkSeconds', '10s', 'a whole number from 1 to 3600 is needed, not "10s"'],
  ['defaultClass', 'yes', 'one of true, false is needed, not "yes"'],
  ['backend', 'ebpf', 'one of auto, nft, legacy, nftables is needed, not "ebpf"'],
  ['logLevel', 'INFO', 'one of debug, info, warn, error is needed, not "INFO"'],
  ['logFormat', 'xml', 'one of auto, json, pretty is needed, not "xml"'],
])('%s refuses "%s" and says what it takes, from the flag and from the environment', (key, value, message) => {
  vi.stubEnv(settings[key].env, undefined)
  expect(() => read(key, [`${flagOf(key)}=${value}`])).toThrow(message)
  vi.stubEnv(settings[key].env, value)
  expect(() => read(key, [])).toThrow(message)
})

test.each(rows)('%s refuses an empty flag', (key) => {
  vi.stubEnv(settings[key].env, undefined)
  expect(() => read(key, [`${flagOf(key)}=`])).toThrow(`${flagOf(key)}`)
})
