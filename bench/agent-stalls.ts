// Loaded into an agent before its own program: says how long its thread was held up, each time that it was.

import { monitorEventLoopDelay } from 'node:perf_hooks'

const resolutionMs = 5
const worthSayingMs = 10
const delays = monitorEventLoopDelay({ resolution: resolutionMs })
delays.enable()
setInterval(() => {
  const longest = Math.round(delays.max / 1e6) - resolutionMs
  delays.reset()
  if (longest >= worthSayingMs) console.log(`held up for ${longest} ms`)
}, 200).unref()
