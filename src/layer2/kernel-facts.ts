// What the kernel says about interfaces in /proc/sys and /sys, read when asked.

import { readFileSync } from 'node:fs'
import type { KernelFacts } from './keeper.ts'

export const systemKernelFacts: KernelFacts = {
  isRouter: (name) => numberIn(`/proc/sys/net/ipv6/conf/${name}/forwarding`) > 0,
  answersForOthers: (name) =>
    Math.max(
      numberIn('/proc/sys/net/ipv4/conf/all/arp_ignore'),
      numberIn(`/proc/sys/net/ipv4/conf/${name}/arp_ignore`),
    ) === 0,
  // Reading it fails on an interface that is down, or gone.
  hasCarrier: (name) => numberIn(`/sys/class/net/${name}/carrier`) > 0,
}

function numberIn(file: string): number {
  try {
    return Number(readFileSync(file, 'utf8').trim())
  } catch {
    return 0
  }
}
