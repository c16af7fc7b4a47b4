// The lab's API server with Bellhop's CRDs installed, and a client for it: what the contract tests of this folder run against.

import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parseAllDocuments } from 'yaml'
import { createKubeClient, type KubeClient } from '../../../src/k8s/client.ts'
import { type ApiServerHandle, type ApiServerOptions, startApiServer } from '../../../src/lab/apiserver/server.ts'
import { silentLog } from '../../../src/runtime/log.ts'
import { must } from '../../../src/runtime/result.ts'
import { systemClock } from '../../../src/runtime/system-clock.ts'

export interface TestCluster {
  readonly server: ApiServerHandle
  readonly client: KubeClient
  /** Another client, as another process has one. */
  readonly connect: (options?: { readonly userAgent?: string; readonly token?: string }) => Promise<KubeClient>
  readonly stop: () => Promise<void>
}

const crdDirectory = path.resolve(import.meta.dirname, '../../../crds')

type Manifest = Parameters<ApiServerHandle['objects']['put']>[0]

function crds(): readonly Manifest[] {
  return readdirSync(crdDirectory)
    .filter((file) => file.endsWith('.yaml'))
    .flatMap((file) => parseAllDocuments(readFileSync(path.join(crdDirectory, file), 'utf8')))
    .map((document) => document.toJS() as Manifest)
    .filter((manifest) => manifest['kind'] === 'CustomResourceDefinition')
}

export async function startTestCluster(options: ApiServerOptions = {}): Promise<TestCluster> {
  const server = await startApiServer(options)
  for (const crd of crds()) server.objects.put(crd)
  const clients: KubeClient[] = []
  const connect: TestCluster['connect'] = async ({ userAgent = 'bellhop/test', token = server.adminToken } = {}) => {
    const client = must(
      await createKubeClient({
        credentials: { type: 'server', url: server.url, token },
        clock: systemClock,
        log: silentLog,
        userAgent,
      }),
    )
    clients.push(client)
    return client
  }
  return {
    server,
    client: await connect(),
    connect,
    stop: async () => {
      for (const client of clients) client.close()
      await server.stop()
    },
  }
}

/** Resolves once `condition` holds; fails the test after `timeoutMs` with what was waited for. */
export async function until(what: string, condition: () => boolean, timeoutMs = 10_000): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
