// Carries TCP connections out of a network namespace into the lab's own process: listens on an address in the namespace and
// hands each connection to a socket in the file system, which namespaces share. So the API server is reached from the nodes
// without any interface in the machine's own namespace. `node relay-program.ts <address> <port> <socket>`.

import { connect, createServer } from 'node:net'
import { pipeBothWays } from './relay.ts'

const [address = '', port = '0', socketPath = ''] = process.argv.slice(2)

const server = createServer({ allowHalfOpen: true }, (inside) => {
  pipeBothWays(inside, connect({ path: socketPath, allowHalfOpen: true }))
})
server.listen(Number(port), address, () => process.stdout.write('listening\n'))
