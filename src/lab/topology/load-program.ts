// Asks one URL again and again and writes one JSON line for each request: {"atMs":...,"tookMs":...,"pod":"web-1",...} or
// {"atMs":...,"tookMs":...,"error":"..."}. `new`: a connection for each request. `kept`: one connection for all of them; when it
// breaks, the error is a line and another one is opened. `node load-program.ts <url> <interval ms> <new|kept> <timeout ms>`.

import { Agent, request } from 'node:http'

const [url = '', intervalText = '100', mode = 'new', timeoutText = '1000'] = process.argv.slice(2)
const intervalMs = Number(intervalText)
const timeoutMs = Number(timeoutText)
const agent = mode === 'kept' ? new Agent({ keepAlive: true, maxSockets: 1 }) : new Agent({ keepAlive: false })

function ask(): Promise<Readonly<Record<string, unknown>>> {
  return new Promise((resolve) => {
    const asking = request(url, { agent, timeout: timeoutMs }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        body += chunk
      })
      response.on('error', (error) => resolve({ error: error.message }))
      response.on('end', () => resolve(JSON.parse(body) as Readonly<Record<string, unknown>>))
    })
    asking.on('timeout', () => asking.destroy(new Error('timeout')))
    asking.on('error', (error: NodeJS.ErrnoException) => resolve({ error: error.code ?? error.message }))
    asking.end()
  })
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

for (;;) {
  const atMs = Date.now()
  const answer = await ask()
  const tookMs = Date.now() - atMs
  process.stdout.write(`${JSON.stringify({ atMs, tookMs, ...answer })}\n`)
  await pause(Math.max(0, intervalMs - tookMs))
}
