// Reads what iptables-save prints into the part of the filter table that concerns us. Pure text to values, apart from
// render.ts because only this file knows how the programs write.

import { chainPrefix, type FilterTable } from './render.ts'

/** Parses the filter table out of iptables-save output; an absent table is an empty one. */
export function parseFilterTable(saved: string): FilterTable {
  const forward: string[] = []
  const chains = new Map<string, string[]>()
  for (const line of linesOfTable(saved, 'filter')) {
    if (line.startsWith(`:${chainPrefix}`)) chains.set(line.slice(1, line.indexOf(' ')), [])
    else if (line.startsWith('-A FORWARD ')) forward.push(line.slice('-A FORWARD '.length))
    else if (line.startsWith(`-A ${chainPrefix}`)) {
      const nameEnd = line.indexOf(' ', 3)
      chains.get(line.slice(3, nameEnd))?.push(withoutHostLength(line.slice(nameEnd + 1)))
    }
  }
  return { forward, chains }
}

// Some versions write a single host with its prefix length, some without.
const withoutHostLength = (rule: string): string =>
  rule.replace(/(--ctorigdst [\d.]+)\/32 /, '$1 ').replace(/(--ctorigdst [\da-f:.]+)\/128 /, '$1 ')

/** Whether somebody else closes FORWARD, or has rules in it: then it has to be opened there. */
export function forwardInUse(saved: string): boolean {
  const lines = linesOfTable(saved, 'filter')
  if (lines.some((line) => line.startsWith(':FORWARD DROP'))) return true
  return lines.some((line) => line.startsWith('-A FORWARD ') && !line.includes(` ${chainPrefix}`))
}

function linesOfTable(saved: string, table: string): readonly string[] {
  const lines = saved.split('\n')
  const start = lines.indexOf(`*${table}`)
  if (start < 0) return []
  const end = lines.indexOf('COMMIT', start)
  return lines.slice(start + 1, end < 0 ? lines.length : end)
}

/** Traces that Kubernetes leaves in a set of tables, by how much they prove. */
export interface KubernetesTraces {
  /** The chains that the kubelet keeps in the mangle table for others to see which back end it uses. */
  readonly hints: number
  /** Other chains of kubelet and kube-proxy. */
  readonly chains: number
  /** Rules of anybody. */
  readonly rules: number
}

/** Counts the traces in the output of iptables-save (all tables). */
export function countTraces(saved: string): KubernetesTraces {
  let hints = 0
  let chains = 0
  let rules = 0
  for (const line of saved.split('\n')) {
    if (/^:KUBE-(IPTABLES-HINT|KUBELET-CANARY) /.test(line)) hints++
    else if (line.startsWith(':KUBE-')) chains++
    else if (line.startsWith('-A ')) rules++
  }
  return { hints, chains, rules }
}
