// What went over the wire, judged by a decoder that neither we nor the router wrote.

import path from 'node:path'
import type { Namespace } from '../../src/lab/netns/namespace.ts'
import type { Ip } from '../../src/net/ip.ts'
import { systemExec } from '../../src/runtime/exec.ts'

export interface Capture {
  /** Ends the capture; the path of the file. */
  readonly stop: () => Promise<string>
}

/** Captures BGP on the first interface of a namespace. Resolves when tcpdump listens. */
export async function capture(namespace: Namespace, directory: string): Promise<Capture> {
  const file = path.join(directory, 'bgp.pcap')
  const tcpdump = namespace.spawn([
    'tcpdump',
    '-i',
    'eth0',
    '-U',
    '--immediate-mode',
    '-Z',
    'root',
    '-w',
    file,
    'tcp',
    'port',
    '179',
  ])
  await tcpdump.waitUntil(() => tcpdump.output().includes('listening on'), { what: 'tcpdump listens' })
  return {
    stop: async () => {
      await tcpdump.stop({ signal: 'SIGINT' })
      return file
    },
  }
}

/** What tshark reads in the BGP messages from one address. */
export interface Reading {
  /** Type codes that occur. */
  readonly messageTypes: ReadonlySet<number>
  /** Path ids in NLRI, announced and withdrawn. */
  readonly pathIds: ReadonlySet<number>
  /** What it calls malformed or an error, with the number of the frame. */
  readonly complaints: readonly string[]
}

/** Reads a capture. */
export async function readCapture(file: string, source: Ip): Promise<Reading> {
  const fields = async (filter: string, ...names: readonly string[]): Promise<readonly string[]> => {
    const ours = `ip.src == ${source} && bgp && (${filter})`
    const output = names.flatMap((name) => ['-e', name])
    const { stdout, status, stderr } = await systemExec('tshark', ['-r', file, '-Y', ours, '-T', 'fields', ...output], {
      timeoutMs: 30_000,
    })
    if (status !== 0) throw new Error(`tshark: ${stderr}`)
    return stdout.split('\n').filter((line) => line.trim() !== '')
  }
  const numbers = (lines: readonly string[]): ReadonlySet<number> =>
    new Set(
      lines
        .flatMap((line) => line.split(/[,\t]/))
        .filter((text) => text !== '')
        .map(Number),
    )
  return {
    messageTypes: numbers(await fields('bgp.type', 'bgp.type')),
    pathIds: numbers(await fields('bgp.type == 2', 'bgp.nlri_path_id')),
    complaints: await fields('_ws.malformed || _ws.expert.severity == error', 'frame.number', '_ws.expert.message'),
  }
}
