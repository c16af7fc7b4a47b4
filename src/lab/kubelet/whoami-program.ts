// What runs in a lab pod: an HTTP server that says who answered and whose source address it saw, so that a client can tell
// spreading from stickiness and a kept address from a masqueraded one. Started by the lab kubelet as
// `node whoami-program.ts <pod> <node> <port> <grace ms>`; after SIGTERM it goes on answering for the grace time, and says halfway
// that it is not ready, as a server does that wants its last clients to have gone elsewhere before it ends.
//
//   GET /         -> {"pod":"web-1","node":"n1","client":"198.51.100.2"}
//   GET /readyz   -> 200, or 503 after POST /unready until POST /ready

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'

const [pod = 'pod', node = 'node', portText = '8080', graceText = '0'] = process.argv.slice(2)
let ready = true
let stopping = false

function answer(request: IncomingMessage, response: ServerResponse): void {
  // A connection kept open over the end of the pod would look like a failure of the network.
  if (stopping) response.setHeader('connection', 'close')
  const path = request.url ?? '/'
  if (request.method === 'POST' && (path === '/ready' || path === '/unready')) {
    ready = path === '/ready'
    response.end(`${ready ? 'ready' : 'unready'}\n`)
  } else if (path === '/readyz') {
    response.statusCode = ready ? 200 : 503
    response.end(`${ready ? 'ready' : 'unready'}\n`)
  } else {
    const client = (request.socket.remoteAddress ?? '').replace('::ffff:', '')
    response.setHeader('content-type', 'application/json')
    response.end(`${JSON.stringify({ pod, node, client })}\n`)
  }
}

const server = createServer(answer)
server.listen(Number(portText), '::', () => process.stdout.write('listening\n'))
process.on('SIGTERM', () => {
  stopping = true
  setTimeout(() => {
    ready = false
  }, Number(graceText) / 2)
  setTimeout(() => process.exit(0), Number(graceText))
})
