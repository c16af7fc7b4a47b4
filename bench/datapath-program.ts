// The two ends of the datapath's benchmark, inside network namespaces: a UDP server that echoes, and a client that asks it one
// question after the other on one connection and prints how long an answer took, in microseconds: median and 99th percentile.
//   node datapath-program.ts serve <port>
//   node datapath-program.ts ask <address> <port> <questions>

import { createSocket } from 'node:dgram'

const [verb, first = '', port = '', count = ''] = process.argv.slice(2)
const socket = createSocket('udp4')
if (verb === 'serve') {
  socket.on('message', (message, from) => socket.send(message, from.port, from.address))
  socket.bind(Number(first), () => console.log('listening'))
} else {
  const times: number[] = []
  let askedMs = 0
  const ask = (): void => {
    askedMs = performance.now()
    socket.send('who')
  }
  socket.on('message', () => {
    times.push((performance.now() - askedMs) * 1000)
    if (times.length < Number(count)) return ask()
    times.sort((a, b) => a - b)
    console.log(JSON.stringify({ median: times[times.length >> 1], p99: times[Math.floor(times.length * 0.99)] }))
    socket.close()
  })
  socket.connect(Number(port), first, ask)
  setTimeout(() => {
    console.log('no answer')
    process.exit(1)
  }, 60_000).unref()
}
