// The number of the kernel's present nftables rules, which every change by whomever raises. Asking for it
// is two system calls, so that the agent looks at the rules when there is something new to see: within a second of it, and not at
// all on a node where nothing happens. `nft monitor` would tell as much and hold the whole rule set in memory, 85 MB with 20,000 of
// kube-proxy's rules; subscribing to the kernel's notifications would make every change of others dearer. Linux only.
//
//   struct nlmsghdr    length(4) type(2) flags(2) sequence(4) port(4), host order
//   struct nfgenmsg    family(1) version(1) resource(2)
//   struct nlattr      length(2) type(2) payload, padded to 4 bytes; numbers in it are in network order

import {
  AF_NETLINK,
  littleEndian,
  loadLibc,
  MSG_DONTWAIT,
  NETLINK_NETFILTER,
  SOCK_CLOEXEC,
  SOCK_RAW,
} from '../runtime/libc.ts'
import { err, ok, type Result } from '../runtime/result.ts'

export interface GenerationSource {
  /** The present generation of this process's network namespace; undefined when the kernel did not answer. */
  readonly read: () => number | undefined
  readonly close: () => void
}

const NLM_F_REQUEST = 1
const messageNewGeneration = 0x0a0f
const messageGetGeneration = 0x0a10
const attributeId = 1
const headerBytes = 16
const bodyBytes = 4
const answerBytesMax = 1024
/** sizeof(struct sockaddr_nl): family(2) padding(2) port(4) groups(4); port 0 is the kernel. */
const addressBytes = 12
const toKernel = Uint8Array.of(AF_NETLINK, ...new Uint8Array(addressBytes - 1))

/** Opens the door to the kernel. Refused, in words, where the library or the kernel lacks it. */
export function openGenerationSource(): Result<GenerationSource, string> {
  const libc = loadLibc()
  if (!libc.ok) return libc
  const { socket, sendto, recvfrom, close } = libc.value
  const fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER)
  if (fd < 0) return err('the kernel has no netfilter netlink socket for this process')
  const answer = new Uint8Array(answerBytesMax)
  const request = renderRequest()
  const source = new Uint8Array(addressBytes)
  return ok({
    read: () => {
      if (sendto(fd, request, request.length, 0, toKernel, toKernel.length) !== request.length) return undefined
      const length = recvfrom(fd, answer, answer.length, MSG_DONTWAIT, source, [source.length])
      return length < 0 ? undefined : parseGeneration(answer.subarray(0, length))
    },
    close: () => void close(fd),
  })
}

function renderRequest(): Uint8Array {
  const bytes = new Uint8Array(headerBytes + bodyBytes)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, bytes.length, littleEndian)
  view.setUint16(4, messageGetGeneration, littleEndian)
  view.setUint16(6, NLM_F_REQUEST, littleEndian)
  return bytes
}

/** Reads the kernel's answer (NFT_MSG_NEWGEN); undefined for any other message, such as a refusal. */
export function parseGeneration(bytes: Uint8Array): number | undefined {
  if (bytes.length < headerBytes + bodyBytes) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint16(4, littleEndian) !== messageNewGeneration) return undefined
  for (let at = headerBytes + bodyBytes; at + 4 <= bytes.length; ) {
    const length = view.getUint16(at, littleEndian)
    if (length < 4 || at + length > bytes.length) return undefined
    if (view.getUint16(at + 2, littleEndian) === attributeId && length === 8) return view.getUint32(at + 4)
    at += (length + 3) & ~3
  }
  return undefined
}
