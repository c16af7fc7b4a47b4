// `listen`: accepts TCP connections on port 7 of any address and says so. `connect <address>`: status 0 when such a
// listener answers within two seconds.

import { connect, createServer } from 'node:net'

const port = 7
const [verb, address] = process.argv.slice(2)
if (verb === 'listen') {
  createServer((socket) => socket.end()).listen({ host: '::', port }, () => console.log('listening'))
} else {
  const socket = connect({ port, ...(address === undefined ? {} : { host: address }) })
  const giveUp = setTimeout(() => process.exit(1), 2000)
  socket.on('connect', () => {
    clearTimeout(giveUp)
    socket.destroy()
  })
  socket.on('error', () => process.exit(1))
}
