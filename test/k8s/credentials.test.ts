// Credentials: from a kubeconfig as kubectl reads it, from an exec plugin, over TLS with client certificates, and from the
// files of a Pod; renewed when they change, and in no error message.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { TLSSocket } from 'node:tls'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createKubeClient, type KubeClient } from '../../src/k8s/client.ts'
import { type CredentialsSource, loadCredentials } from '../../src/k8s/credentials.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { describeWith } from '../support/privileges.ts'
import { type ScriptedServer, sendJson, startScriptedServer, statusBody } from './support/scripted-server.ts'

let directory = ''
beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'bellhop-credentials-'))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

const file = (name: string): string => path.join(directory, name)

function write(name: string, text: string): string {
  writeFileSync(file(name), text, { mode: 0o755 })
  return file(name)
}

function kubeconfig(name: string, cluster: object, user: object): CredentialsSource {
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'main',
    contexts: [{ name: 'main', context: { cluster: 'c', user: 'u', namespace: 'bellhop' } }],
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user }],
  }
  return { type: 'kubeconfig', path: write(name, JSON.stringify(config)) }
}

async function connect(credentials: CredentialsSource, aheadMs: () => number = () => 0): Promise<KubeClient> {
  const client = must(
    await createKubeClient({
      credentials,
      clock: { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs() },
      log: silentLog,
      userAgent: 'bellhop/test',
    }),
  )
  open.push(client.close)
  return client
}

async function plainServer(): Promise<ScriptedServer> {
  const server = await startScriptedServer((_request, response) => sendJson(response, 200, {}))
  open.push(server.close)
  return server
}

const get = { method: 'GET', path: '/version' } as const

test.each<[string, object, string | undefined]>([
  ['a token', { token: 'sesame' }, 'Bearer sesame'],
  [
    'a name and a password',
    { username: 'alice', password: 'pw' },
    `Basic ${Buffer.from('alice:pw').toString('base64')}`,
  ],
  ['nothing', {}, undefined],
])('a kubeconfig with %s, over plain HTTP', async (_what, user, authorization) => {
  const server = await plainServer()
  const client = await connect(kubeconfig('plain', { server: server.url }, user))
  must(await client.request(get))
  expect(server.seen[0]?.headers.authorization).toBe(authorization)
  expect(client.namespace).toBe('bellhop')
})

test('an exec plugin is run for its token, and again when the server rejects it', async () => {
  const counter = write('counter', '0')
  const plugin = write(
    'plugin.sh',
    `#!/bin/sh\nn=$(($(cat ${counter})+1)); echo $n >${counter}\necho '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t'$n'","expirationTimestamp":"2020-01-01T00:00:00Z"}}'\n`,
  )
  const server = await startScriptedServer((request, response) => {
    if (request.headers.authorization === 'Bearer t1') sendJson(response, 401, statusBody(401, 'Unauthorized', 'no'))
    else sendJson(response, 200, {})
  })
  open.push(server.close)
  const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: plugin, interactiveMode: 'Never' }
  const client = await connect(kubeconfig('exec', { server: server.url }, { exec }))
  must(await client.request(get))
  must(await client.request(get))
  expect(server.seen.map(({ headers }) => headers.authorization)).toEqual(['Bearer t1', 'Bearer t2', 'Bearer t2'])
})

test('an exec plugin that fails is a Credentials error that repeats what it said', async () => {
  const server = await plainServer()
  const plugin = write('failing.sh', '#!/bin/sh\necho "please log in" >&2; exit 1\n')
  const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: plugin, interactiveMode: 'Never' }
  const client = await connect(kubeconfig('failing', { server: server.url }, { exec }))
  const answer = await client.request(get)
  expect(answer).toMatchObject({
    ok: false,
    error: { reason: 'Credentials', message: expect.stringContaining('please log in') },
  })
  expect(server.seen).toHaveLength(0)
})

test('a token file is read again after a minute', async () => {
  const server = await plainServer()
  const tokenFile = write('token', 'first')
  let aheadMs = 0
  const client = await connect(
    kubeconfig('token-file', { server: server.url }, { 'auth-provider': { name: 'tokenFile', config: { tokenFile } } }),
    () => aheadMs,
  )
  must(await client.request(get))
  expect(server.seen[0]?.headers.authorization).toBe('Bearer first')
  aheadMs = 61_000
  must(await client.request(get))
  expect(server.seen).toHaveLength(2)
})

test.each<[string, () => CredentialsSource]>([
  ['a file that does not exist', () => ({ type: 'kubeconfig', path: file('none') })],
  ['a file that is no kubeconfig', () => ({ type: 'kubeconfig', path: write('broken', '{{') })],
  [
    'a context that does not exist',
    () => ({
      ...(kubeconfig('ctx', { server: 'http://127.0.0.1:1' }, {}) as { type: 'kubeconfig'; path: string }),
      context: 'other',
    }),
  ],
  ['no Pod around us', () => ({ type: 'in-cluster' })],
])('%s is an error value', async (_what, source) => {
  expect(await loadCredentials(source(), { clock: systemClock })).toMatchObject({
    ok: false,
    error: { reason: 'Credentials', message: expect.stringContaining('no usable Kubernetes credentials') },
  })
})

// ------------------------------------------------------------------------------------------------------------ TLS

const openssl = (...args: readonly string[]): unknown => execFileSync('openssl', [...args], { stdio: 'pipe' })

function certificate(name: string, subject: string, san: string): void {
  openssl(
    'req',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    file(`${name}.key`),
    '-out',
    file(`${name}.csr`),
    '-subj',
    subject,
  )
  write(`${name}.ext`, san === '' ? 'extendedKeyUsage=clientAuth' : `subjectAltName=${san}`)
  openssl(
    'x509',
    '-req',
    '-in',
    file(`${name}.csr`),
    '-CA',
    file('ca.crt'),
    '-CAkey',
    file('ca.key'),
    '-CAcreateserial',
    '-days',
    '2',
    '-extfile',
    file(`${name}.ext`),
    '-out',
    file(`${name}.crt`),
  )
}

async function secureServer(host = '127.0.0.1'): Promise<{ readonly url: string; readonly clients: string[] }> {
  if (!certificatesMade) {
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      file('ca.key'),
      '-out',
      file('ca.crt'),
      '-subj',
      '/CN=test-ca',
      '-days',
      '2',
    )
    certificate('server', '/CN=api', 'IP:127.0.0.1,IP:::1,DNS:api.example')
    certificate('admin', '/O=system:masters/CN=admin', '')
    certificatesMade = true
  }
  const clients: string[] = []
  const server = createServer(
    {
      key: readFileSync(file('server.key')),
      cert: readFileSync(file('server.crt')),
      ca: readFileSync(file('ca.crt')),
      requestCert: true,
      rejectUnauthorized: false,
    },
    (request, response) => {
      const subject = (request.socket as TLSSocket).getPeerCertificate().subject?.CN
      clients.push(typeof subject === 'string' ? subject : '')
      sendJson(response, 200, {})
    },
  )
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  open.push(() => {
    server.closeAllConnections()
    server.close()
  })
  const literal = host.includes(':') ? `[${host}]` : host
  return { url: `https://${literal}:${(server.address() as AddressInfo).port}`, clients }
}
let certificatesMade = false

const base64 = (name: string): string => readFileSync(file(name)).toString('base64')

describeWith({ programs: ['openssl'] }, 'with a server that has a certificate', () => {
  test('a client certificate and a private CA, from data in the kubeconfig', async () => {
    const { url, clients } = await secureServer()
    const client = await connect(
      kubeconfig(
        'mtls',
        { server: url, 'certificate-authority-data': base64('ca.crt') },
        { 'client-certificate-data': base64('admin.crt'), 'client-key-data': base64('admin.key') },
      ),
    )
    must(await client.request(get))
    expect(clients).toEqual(['admin'])
  })

  test('the address in the certificate may be one of IPv6', async () => {
    const { url } = await secureServer('::1')
    const ca = { server: url, 'certificate-authority': file('ca.crt') }
    const client = await connect(kubeconfig('ipv6', ca, { token: 'sesame' }))
    must(await client.request(get))
  })

  test('a CA that is not the server’s is refused, and no byte of a request is sent', async () => {
    const { url, clients } = await secureServer()
    const client = await connect(kubeconfig('wrong-ca', { server: url }, { token: 'sesame' }))
    const answer = await client.request(get)
    expect(answer).toMatchObject({ ok: false, error: { reason: 'TlsRefused' } })
    expect(JSON.stringify(answer)).not.toContain('sesame')
    expect(clients).toEqual([])
  })

  test('insecure-skip-tls-verify and tls-server-name do what they say', async () => {
    const { url, clients } = await secureServer()
    const insecure = await connect(kubeconfig('insecure', { server: url, 'insecure-skip-tls-verify': true }, {}))
    must(await insecure.request(get))
    const ca = { server: url, 'certificate-authority': file('ca.crt') }
    const named = await connect(kubeconfig('named', { ...ca, 'tls-server-name': 'api.example' }, {}))
    must(await named.request(get))
    const misnamed = await connect(kubeconfig('misnamed', { ...ca, 'tls-server-name': 'other.example' }, {}))
    expect(await misnamed.request(get)).toMatchObject({ ok: false, error: { reason: 'TlsRefused' } })
    expect(clients).toHaveLength(2)
  })
})
