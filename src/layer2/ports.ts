// The packet sockets of a node, one an interface, and the MAC that it speaks with there: opened for whoever first has something to say or
// to hear on a link, and opened anew when the link of that name is another one.

import { err, ok, type Result } from '../runtime/result.ts'
import type { ObservedLink } from './addresses.ts'
import { parseMac } from './frames.ts'
import type { OpenPacketSocket, PacketError, PacketSocket } from './native-packets.ts'

export interface Port {
  readonly mac: Uint8Array
  readonly socket: PacketSocket
}

export interface Ports {
  /** The port of a link as it is now. */
  readonly at: (link: ObservedLink) => Result<Port, PacketError>
  /** Open ones, by interface. */
  readonly open: ReadonlyMap<string, Port>
  /** Closes all others. */
  readonly keepOnly: (interfaceNames: ReadonlySet<string>) => void
}

export function createPorts(openSocket: OpenPacketSocket): Ports {
  const open = new Map<string, Port & { readonly index: number }>()

  const close = (name: string): void => {
    open.get(name)?.socket.close()
    open.delete(name)
  }

  return {
    open,
    at: (link) => {
      const known = open.get(link.name)
      const mac = parseMac(link.mac)
      if (mac === undefined)
        return err({ code: 'layer2/socket-refused', message: `${link.name} has no Ethernet address: "${link.mac}"` })
      if (known?.index === link.index && known.mac.every((byte, i) => byte === mac[i])) return ok(known)
      close(link.name)
      const socket = openSocket(link.index)
      if (!socket.ok) return socket
      const port = { index: link.index, mac, socket: socket.value }
      open.set(link.name, port)
      return ok(port)
    },
    keepOnly: (names) => {
      for (const name of [...open.keys()]) if (!names.has(name)) close(name)
    },
  }
}
