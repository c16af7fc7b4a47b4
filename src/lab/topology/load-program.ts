// Asks one URL again and again and writes one JSON line for each request: {"atMs":...,"tookMs":...,"asker":0,"pod":"web-1",...} or
// {"atMs":...,"tookMs":...,"asker":0,"error":"..."}. `new`: a connection for each request. `kept`: one connection an asker; when it
// breaks, the error is a line and another one is opened. `node load-program.ts <url> <interval ms> <new|kept> <timeout ms> <askers>`.

import { Agent, request } from 'node:http'

const [url = '', intervalText = '100', mode = 'new', timeoutText = '1000', askersText = '1'] = process.argv.slice(2)
const intervalMs = Number(intervalText)
const timeoutMs = Number(timeoutText)

function ask(agent: Agent): Promise<Readonly<Record<string, unknown>>> {
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

async function askOn(asker: number): Promise<never> {
  const agent = mode === 'kept' ? new Agent({ keepAlive: true, maxSockets: 1 }) : new Agent({ keepAlive: false })
  for (;;) {
    const atMs = Date.now()
    const answer = await ask(agent)
    const tookMs = Date.now() - atMs
    process.stdout.write(`${JSON.stringify({ atMs, tookMs, asker, ...answer })}\n`)
    await pause(Math.max(0, intervalMs - tookMs))
  }
}

await Promise.all(Array.from({ length: Number(askersText) }, (_, asker) => askOn(asker)))
