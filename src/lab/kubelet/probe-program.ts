// Readiness probes, made where the kubelet makes them: in the node's namespace. One JSON line in for each request, one out
// when it is answered: {"id":7,"method":"GET","url":"http://10.244.1.2:8080/readyz","timeoutMs":1000} -> {"id":7,"status":200}.
// Status 0: no answer in time.

import { request } from 'node:http'
import { createInterface } from 'node:readline'

interface Wanted {
  readonly id: number
  readonly method: string
  readonly url: string
  readonly timeoutMs: number
}

const report = (id: number, status: number): boolean => process.stdout.write(`${JSON.stringify({ id, status })}\n`)

function probe({ id, method, url, timeoutMs }: Wanted): void {
  const asking = request(url, { method, agent: false, signal: AbortSignal.timeout(timeoutMs) }, (response) => {
    response.resume()
    response.on('error', () => {})
    report(id, response.statusCode ?? 0)
  })
  asking.on('error', () => report(id, 0))
  asking.end()
}

createInterface({ input: process.stdin }).on('line', (line) => probe(JSON.parse(line) as Wanted))
process.stdin.on('end', () => process.exit(0))
