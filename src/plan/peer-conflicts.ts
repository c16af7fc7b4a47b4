// Which of several BgpPeers with one address can have a session each, and why a newer one can not. Two sessions are two only if
// something on the wire tells them apart: a session that we open by the router's port or by our source address, one that the router
// opens by our address alone, since the port it connects from is any.

import type { BgpPeer } from '../k8s/objects.ts'

/** Why `peer` can not be had beside one that was there before it, in words; undefined when it can. */
export function conflictOf(peer: BgpPeer, older: BgpPeer): string | undefined {
  const name = older.meta.name
  if (peer.addressRange !== undefined || older.addressRange !== undefined)
    return peer.addressRange === older.addressRange
      ? `BgpPeer ${name} has the addressRange ${peer.addressRange} already`
      : undefined
  if (peer.address !== older.address || peer.zone !== older.zone) return undefined
  const { address, port, sourceAddress } = peer
  const bothPassive = peer.passive && older.passive
  if (sourceAddress === older.sourceAddress) {
    if (port === older.port)
      return `BgpPeer ${name} has the address ${address} already: a second session needs another port or sourceAddress`
    return bothPassive
      ? `BgpPeer ${name} waits for connections from ${address}, too: nothing but a sourceAddress of its own tells its session from this one`
      : undefined
  }
  if (port === older.port && (sourceAddress === undefined || older.sourceAddress === undefined))
    return `BgpPeer ${name} has the address ${address} already: for two sessions each needs a sourceAddress of its own`
  return bothPassive ? differenceOf(peer, older) : undefined
}

// What the kernel asks of a connection before it knows which of our addresses it is for.
function differenceOf(peer: BgpPeer, older: BgpPeer): string | undefined {
  const { name } = older.meta
  const secret = ({ passwordSecretRef: ref }: BgpPeer): string => (ref === undefined ? '' : `${ref.name}/${ref.key}`)
  if (secret(peer) !== secret(older))
    return `BgpPeer ${name} waits for connections from ${peer.address} with another password: the kernel knows one for each address`
  return peer.ttlSecurityHops === older.ttlSecurityHops
    ? undefined
    : `BgpPeer ${name} waits for connections from ${peer.address} with another ttlSecurity: the kernel knows one for each address`
}
