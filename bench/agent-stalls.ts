// Loaded into an agent before its own program: tells how long its thread was held up at most, whenever that grows.

import { monitorEventLoopDelay } from 'node:perf_hooks'

const resolutionMs = 5
const delays = monitorEventLoopDelay({ resolution: resolutionMs })
delays.enable()
let told = 0
setInterval(() => {
  const longest = Math.round(delays.max / 1e6) - resolutionMs
  if (longest <= told) return
  told = longest
  console.log(`longest stall ${longest} ms`)
}, 1000).unref()
