// What a daemon has used, from /proc: CPU seconds and resident memory of a process and of all it has started.

import { readdirSync, readFileSync } from 'node:fs'

export interface Usage {
  readonly cpuSeconds: number
  readonly residentMb: number
  /** Of that, what no file backs: without the pages of programs, which processes share and the kernel can drop. */
  readonly anonymousMb: number
  /** The most it ever was, all processes' maxima added. */
  readonly residentPeakMb: number
}

/** USER_HZ of every Linux in use. */
const ticksPerSecond = 100

/** Of `pid` and its descendants. Memory that they share is counted in each. */
export function usageOf(pid: number): Usage {
  let cpuSeconds = 0
  let residentMb = 0
  let anonymousMb = 0
  let residentPeakMb = 0
  for (const member of [pid, ...descendantsOf(pid)]) {
    const [, fields = ''] = readFileSync(`/proc/${member}/stat`, 'utf8').split(/\) /)
    const values = fields.split(' ')
    cpuSeconds += (Number(values[11]) + Number(values[12])) / ticksPerSecond
    const status = readFileSync(`/proc/${member}/status`, 'utf8')
    residentMb += kilobytes(status, 'VmRSS') / 1024
    anonymousMb += kilobytes(status, 'RssAnon') / 1024
    residentPeakMb += kilobytes(status, 'VmHWM') / 1024
  }
  return { cpuSeconds, residentMb, anonymousMb, residentPeakMb }
}

const kilobytes = (status: string, key: string): number =>
  Number(new RegExp(`${key}:\\s+(\\d+)`).exec(status)?.[1] ?? 0)

function descendantsOf(pid: number): readonly number[] {
  const children = new Map<number, number[]>()
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const parent = parentOf(entry)
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(entry)])
  }
  const below = (parent: number): readonly number[] =>
    (children.get(parent) ?? []).flatMap((child) => [child, ...below(child)])
  return below(pid)
}

function parentOf(pid: string): number | undefined {
  try {
    return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(/\) /)[1]?.split(' ')[1])
  } catch {
    // Ended since the directory was read.
    return undefined
  }
}
