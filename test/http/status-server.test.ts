import { afterEach, describe, expect, test } from 'vitest'
import { listenAt, type StatusPort, type StatusSources, takeStatusPort } from '../../src/http/status-server.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'

let server: StatusPort | undefined
afterEach(() => server?.stop())

async function ask(path: string, sources: Partial<StatusSources> = {}, method = 'GET'): Promise<[number, string]> {
  server = must(await listenAt(0, silentLog))
  server.serve({
    unhealthy: () => undefined,
    notReady: () => undefined,
    metrics: async () => ({ contentType: 'text/plain; version=0.0.4', text: 'bellhop_up 1\n' }),
    ...sources,
  })
  const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { method })
  return [response.status, await response.text()]
}

describe('the status server', () => {
  test.each<[string, Partial<StatusSources>, number, string]>([
    ['/healthz', {}, 200, 'ok\n'],
    ['/healthz', { unhealthy: () => 'the BGP worker has died' }, 503, 'the BGP worker has died\n'],
    [
      '/readyz',
      { notReady: () => 'waiting for the first list of services' },
      503,
      'waiting for the first list of services\n',
    ],
    ['/readyz?verbose', {}, 200, 'ok\n'],
    ['/metrics', {}, 200, 'bellhop_up 1\n'],
    ['/', {}, 404, 'try /healthz, /readyz or /metrics\n'],
    ['/metrics', { metrics: () => Promise.reject(new Error('secret detail')) }, 500, 'internal error\n'],
  ])('answers %s', async (path, sources, status, body) => {
    expect(await ask(path, sources)).toEqual([status, body])
  })

  test('takes GET and HEAD only', async () => {
    expect(await ask('/healthz', {}, 'POST')).toEqual([405, 'GET only\n'])
  })

  test('says in an operator’s words that its port is taken', async () => {
    await ask('/healthz')
    const port = server?.port ?? 0
    expect(await takeStatusPort(port, silentLog)).toEqual({
      ok: false,
      error: expect.stringMatching(`^TCP port ${port}, .* is in use on this host .*EADDRINUSE.*--http-port`),
    })
  })

  test('takes no port where none is wanted', async () => {
    expect(await takeStatusPort(0, silentLog)).toEqual({ ok: true, value: undefined })
  })
})
