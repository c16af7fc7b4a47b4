// What only one program of a host may have, whichever Pod or installation it belongs to: a name in the kernel, which goes with its
// holder's death. An abstract Unix socket, bound and never used: it belongs to the network namespace, as the addresses do that such
// names are made of, and needs no directory that two programs would have to share.

import {
  AF_UNIX,
  type Descriptor,
  type Libc,
  lastError,
  littleEndian,
  loadLibc,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
} from './libc.ts'
import { err, ok, type Result } from './result.ts'

export interface Claim {
  /** Once; more often does nothing. */
  readonly release: () => void
}

export interface HostClaims {
  /**
   * All of these names or none; the error is the name that another program has. What this program has already it may have again: a
   * name is free when the last claim on it is released.
   */
  readonly claim: (names: readonly string[]) => Result<Claim, string>
}

/** sun_path has room for so many bytes, of which the first says that the name is abstract. */
export const claimBytesMax = 107

let loaded: HostClaims | undefined

/** The kernel's; without the library for it everything is granted. */
export function systemClaims(): HostClaims {
  if (loaded !== undefined) return loaded
  const libc = loadLibc()
  loaded = libc.ok ? createHostClaims(libc.value) : { claim: () => ok({ release: () => {} }) }
  return loaded
}

interface Held {
  /** Absent where the kernel lets nobody have names: then nobody is kept out either. */
  readonly fd?: Descriptor
  holders: number
}

/** Of one program. */
export function createHostClaims(libc: Libc): HostClaims {
  const held = new Map<string, Held>()

  const release = (name: string): void => {
    const holding = held.get(name)
    if (holding === undefined) throw new Error(`${name} is released more often than it was claimed`)
    holding.holders--
    if (holding.holders > 0) return
    held.delete(name)
    if (holding.fd !== undefined) libc.close(holding.fd)
  }

  const take = (name: string): boolean => {
    const holding = held.get(name)
    if (holding !== undefined) {
      holding.holders++
      return true
    }
    const bound = bindName(libc, name)
    if (bound === 'taken') return false
    held.set(name, { ...bound, holders: 1 })
    return true
  }

  return {
    claim: (names) => {
      const taken: string[] = []
      for (const name of names) {
        if (take(name)) {
          taken.push(name)
          continue
        }
        for (const before of taken) release(before)
        return err(name)
      }
      let released = false
      return ok({
        release: () => {
          if (released) return
          released = true
          for (const name of taken) release(name)
        },
      })
    },
  }
}

function bindName(libc: Libc, name: string): Pick<Held, 'fd'> | 'taken' {
  const text = new TextEncoder().encode(name)
  if (text.length > claimBytesMax) throw new Error(`${name} is too long for a claim`)
  const address = new Uint8Array(2 + 1 + text.length)
  new DataView(address.buffer).setUint16(0, AF_UNIX, littleEndian)
  address.set(text, 3)
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
  if (fd < 0) return {}
  if (libc.bind(fd, address, address.length) === 0) return { fd }
  const { name: code } = lastError(libc)
  libc.close(fd)
  return code === 'EADDRINUSE' ? 'taken' : {}
}
