// The OPEN we send and the judgement of the one we receive (RFC 4271 section 6.2 and the capabilities' own documents).
// From configuration and message alone; a refusal knows its NOTIFICATION and says in words what to change where.

import { type Asn, asTrans, routerIdFromNumber, routerIdToNumber } from '../../net/asn.ts'
import { err, ok, type Result } from '../../runtime/result.ts'
import { concatBytes } from '../packet/bytes.ts'
import { capabilityCode, encodeCapability } from '../packet/capability.ts'
import { type OpenErrorName, openError } from '../packet/errors.ts'
import { afiSafiOf, type Capability, type Family, type OpenMessage, type SessionError } from '../packet/message.ts'
import { addPathModeOf, asnOfOpen, commonFamilies, familiesOf } from './negotiate.ts'
import type { SessionConfig } from './session.ts'

const version = 4
const restartSecondsMax = 4095

/** Whether our number needs the four-octet capability to be said at all. */
const needsFourOctets = (asn: Asn): boolean => asn > 0xffff

/**
 * The OPEN for a configuration. `withoutCapabilities` are codes the peer refused (RFC 5492 section 3); `restarting` is the R bit.
 * ADD-PATH is announced as "send" only: what routers announce to us is counted, never stored.
 */
export function createOpen(
  config: SessionConfig,
  options: { readonly restarting: boolean; readonly withoutCapabilities: readonly number[] },
): OpenMessage {
  const capabilities: readonly Capability[] = [
    ...config.families.map(multiprotocol),
    ...(config.families.includes('ipv4-unicast') ? [ipv6NextHop] : []),
    { type: 'route-refresh' },
    { type: 'enhanced-route-refresh' },
    { type: 'extended-message' },
    { type: 'four-octet-as', asn: config.localAsn },
    ...(config.addPath === 'disabled' ? [] : [addPath(config.families)]),
    ...gracefulRestartCapabilities(config, options.restarting),
    ...(config.hostname === undefined ? [] : [{ type: 'fqdn', hostname: config.hostname, domain: '' } as const]),
  ]
  const refused = new Set(options.withoutCapabilities)
  return {
    type: 'OPEN',
    version,
    myAs: needsFourOctets(config.localAsn) ? asTrans : config.localAsn,
    holdTimeSeconds: config.holdTimeSeconds,
    bgpIdentifier: routerIdToNumber(config.routerId),
    capabilities: capabilities.filter((capability) => !refused.has(capabilityCode(capability))),
  }
}

const multiprotocol = (family: Family): Capability => ({ type: 'multiprotocol', ...afiSafiOf[family] })

// Used only where the router says the same (RFC 8950 section 4); what it announces to us is counted, whatever its next hop.
const ipv6NextHop: Capability = {
  type: 'extended-next-hop',
  tuples: [{ ...afiSafiOf['ipv4-unicast'], nextHopAfi: afiSafiOf['ipv6-unicast'].afi }],
}

const addPath = (families: readonly Family[]): Capability => ({
  type: 'add-path',
  families: families.map((family) => ({ ...afiSafiOf[family], mode: 'send' })),
})

// F is always set: what we announce is forwarded by the nodes' kernels, and those do not restart with this process.
function gracefulRestartCapabilities(config: SessionConfig, restarting: boolean): readonly Capability[] {
  const { gracefulRestart, families } = config
  if (gracefulRestart === undefined) return []
  const preserved = families.map((family) => ({ ...afiSafiOf[family], forwardingPreserved: true }))
  const restartTimeSeconds = Math.min(restartSecondsMax, gracefulRestart.restartSeconds)
  const staleTimeSeconds = gracefulRestart.longLivedSeconds
  return [
    { type: 'graceful-restart', restarting, notification: true, restartTimeSeconds, families: preserved },
    ...(staleTimeSeconds === 0
      ? []
      : [
          {
            type: 'long-lived-graceful-restart' as const,
            families: preserved.map((family) => ({ ...family, staleTimeSeconds })),
          },
        ]),
  ]
}

/** Codes of the capabilities without which the configuration can not be carried out: a peer's refusal does not take them away. */
export function requiredCapabilities(config: SessionConfig): readonly number[] {
  const required: readonly Capability[] = [
    ...config.families.filter((family) => family !== 'ipv4-unicast').map(multiprotocol),
    ...(config.addPath === 'require' ? [addPath(config.families)] : []),
    ...(needsFourOctets(config.localAsn) || needsFourOctets(config.peerAsn)
      ? [{ type: 'four-octet-as', asn: config.localAsn } as const]
      : []),
  ]
  return required.map(capabilityCode)
}

const refuse = (name: OpenErrorName, reason: string, data?: Uint8Array): Result<never, SessionError> =>
  err(openError(name, reason, data))

/** Judges a received OPEN by RFC 4271 section 6.2, in its order, then RFC 6286, RFC 7607 and what the configuration requires. */
export function validateOpen(
  sent: OpenMessage,
  received: OpenMessage,
  config: SessionConfig,
): Result<OpenMessage, SessionError> {
  if (received.version !== version)
    // RFC 4271 section 6.2: the data is the largest version we support below what was asked for, in two octets.
    return refuse(
      'unsupported-version',
      `the router speaks BGP version ${received.version}, not ${version}`,
      Uint8Array.of(0, version),
    )
  for (const check of [refuseAsn, refuseHoldTime, refuseIdentifier]) {
    const refusal = check(received, config)
    if (refusal !== undefined) return refusal
  }
  return refuseCapabilities(sent, received, config) ?? ok(received)
}

type Refusal = Result<never, SessionError> | undefined

function refuseAsn(received: OpenMessage, config: SessionConfig): Refusal {
  const asn = asnOfOpen(received)
  if (asn === 0 || received.myAs === 0)
    return refuse('bad-peer-as', 'the router says its AS is 0, which no speaker may use (RFC 7607)')
  if (asn === config.peerAsn) return undefined
  return refuse('bad-peer-as', `the router says its AS is ${asn}, BgpPeer ${config.name} expects ${config.peerAsn}`)
}

function refuseHoldTime({ holdTimeSeconds }: OpenMessage): Refusal {
  if (holdTimeSeconds !== 1 && holdTimeSeconds !== 2) return undefined
  return refuse(
    'unacceptable-hold-time',
    `the router asks for a hold time of ${holdTimeSeconds} s; it must be 0 or at least 3`,
  )
}

// RFC 6286 section 2.2: any non-zero number, and within one AS not ours.
function refuseIdentifier({ bgpIdentifier }: OpenMessage, config: SessionConfig): Refusal {
  const routerId = routerIdFromNumber(bgpIdentifier)
  if (!routerId.ok) return refuse('bad-bgp-identifier', "the router's BGP identifier is 0.0.0.0")
  if (config.localAsn !== config.peerAsn || routerId.value !== config.routerId) return undefined
  return refuse(
    'bad-bgp-identifier',
    `the router's BGP identifier ${routerId.value} is our own; within an AS each speaker needs its own (RFC 6286)`,
  )
}

// RFC 5492 section 5: the data of 2/7 is the capabilities we miss, encoded as in an OPEN.
function refuseCapabilities(sent: OpenMessage, received: OpenMessage, config: SessionConfig): Refusal {
  const families = commonFamilies(sent, received, config)
  if (families.length === 0) {
    const theirs = [...familiesOf(received)].join(', ') || 'none that we know'
    return refuse(
      'unsupported-capability',
      `no address family in common: the router offers ${theirs}, BgpPeer ${config.name} asks for ${config.families.join(', ')}`,
      concatBytes(config.families.map((family) => encodeCapability(multiprotocol(family)))),
    )
  }
  if (config.addPath !== 'require') return undefined
  const missing = families.filter((family) => {
    const mode = addPathModeOf(received, family)
    return mode !== 'receive' && mode !== 'both'
  })
  if (missing.length === 0) return undefined
  return refuse(
    'unsupported-capability',
    `the router does not receive ADD-PATH for ${missing.join(', ')}, BgpPeer ${config.name} requires it`,
    encodeCapability(addPath(missing)),
  )
}
