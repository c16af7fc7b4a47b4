// TLS before the lab's API server, which has none: a Pod's credentials are a token that is sent over TLS only, and the CA that the
// kubelet gives it.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createServer } from 'node:tls'
import { pipeBothWays } from '../../src/lab/topology/relay.ts'

export interface TlsFront {
  readonly port: number
  /** PEM. */
  readonly ca: string
  readonly close: () => Promise<void>
}

/** Accepts TLS on a free port of 127.0.0.1, as `host`, and passes it on in plain to `targetPort` there. Needs openssl. */
export async function startTlsFront(host: string, targetPort: number): Promise<TlsFront> {
  const { key, cert } = selfSigned(host)
  const open = new Set<Socket>()
  const server = createServer({ key, cert }, (outside) => {
    const target = connect({ host: '127.0.0.1', port: targetPort })
    for (const socket of [outside, target]) {
      open.add(socket)
      socket.on('close', () => open.delete(socket))
    }
    pipeBothWays(outside, target)
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    ca: cert,
    close: async () => {
      for (const socket of open) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

function selfSigned(host: string): { readonly key: string; readonly cert: string } {
  const folder = mkdtempSync(path.join(tmpdir(), 'bellhop-tls-'))
  try {
    const files = ['-keyout', path.join(folder, 'key'), '-out', path.join(folder, 'cert')]
    const subject = ['-subj', `/CN=${host}`, '-addext', `subjectAltName=IP:${host}`]
    const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
    execFileSync('openssl', ['req', ...kind, ...subject, ...files], { stdio: 'pipe' })
    return {
      key: readFileSync(path.join(folder, 'key'), 'utf8'),
      cert: readFileSync(path.join(folder, 'cert'), 'utf8'),
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
