// What is installed by `kubectl apply -k deploy/base`, and that the Pods get the rights they need and no others.
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/lab/apiserver/json.ts'
import { describeWith } from '../support/privileges.ts'
import { at, listAt, nameOf, renderBase } from './rendered.ts'

const repositoryRoot = path.resolve(import.meta.dirname, '../..')

describeWith({ programs: ['kubectl'] }, 'deploy/base', () => {
  const objects = renderBase()
  const find = (name: string): JsonObject => {
    const object = objects.find((candidate) => nameOf(candidate) === name)
    if (!object) throw new Error(`${name} is not in the base`)
    return object
  }
  const pods = [
    ['Deployment/bellhop-controller', 'controller', 7474],
    ['DaemonSet/bellhop-agent', 'agent', 7475],
  ] as const

  test('installs the CRDs, a namespace, and two workloads with their rights', () => {
    expect(objects.map(nameOf).sort()).toEqual([
      'ClusterRole/bellhop-agent',
      'ClusterRole/bellhop-controller',
      'ClusterRoleBinding/bellhop-agent',
      'ClusterRoleBinding/bellhop-controller',
      'CustomResourceDefinition/bgpconfs.bellhop.io',
      'CustomResourceDefinition/bgppeers.bellhop.io',
      'CustomResourceDefinition/bgppolicies.bellhop.io',
      'CustomResourceDefinition/vippools.bellhop.io',
      'CustomResourceDefinition/vips.bellhop.io',
      'DaemonSet/bellhop-agent',
      'Deployment/bellhop-controller',
      'Namespace/bellhop-system',
      'PodDisruptionBudget/bellhop-controller',
      'Role/bellhop-agent',
      'Role/bellhop-controller',
      'RoleBinding/bellhop-agent',
      'RoleBinding/bellhop-controller',
      'ServiceAccount/bellhop-agent',
      'ServiceAccount/bellhop-controller',
    ])
  })

  test('marks all of it as part of Bellhop, so that it can be found and removed', () => {
    const unmarked = objects.filter(
      (object) => at(object, 'metadata', 'labels', 'app.kubernetes.io/part-of') !== 'bellhop',
    )
    expect(unmarked.map(nameOf)).toEqual([])
  })

  test('puts everything that is not cluster-wide into bellhop-system', () => {
    const placed = objects.filter((object) => at(object, 'metadata', 'namespace') !== undefined)
    expect(new Set(placed.map((object) => at(object, 'metadata', 'namespace')))).toEqual(new Set(['bellhop-system']))
  })

  test('lets the namespace hold Pods with host network', () => {
    expect(at(find('Namespace/bellhop-system'), 'metadata', 'labels', 'pod-security.kubernetes.io/enforce')).toBe(
      'privileged',
    )
  })

  describe.each(pods)('%s', (name, verb, port) => {
    const workload = find(name)
    const pod = at(workload, 'spec', 'template', 'spec')
    const container = listAt(pod, 'containers')[0]

    test('selects its own Pods', () => {
      expect(at(workload, 'spec', 'template', 'metadata', 'labels')).toMatchObject(
        Object(at(workload, 'spec', 'selector', 'matchLabels')),
      )
    })

    test('runs its verb on the host network, and still resolves cluster names', () => {
      expect(at(container, 'args')).toEqual([verb])
      expect(at(pod, 'hostNetwork')).toBe(true)
      expect(at(pod, 'dnsPolicy')).toBe('ClusterFirstWithHostNet')
      expect(at(pod, 'serviceAccountName')).toBe(`bellhop-${verb}`)
    })

    test('is told who and where it is', () => {
      const fields = listAt(container, 'env').map((entry) => [
        at(entry, 'name'),
        at(entry, 'valueFrom', 'fieldRef', 'fieldPath'),
      ])
      expect(fields.filter(([, field]) => field !== undefined)).toEqual([
        ['POD_NAME', 'metadata.name'],
        ['POD_NAMESPACE', 'metadata.namespace'],
        ['NODE_NAME', 'spec.nodeName'],
      ])
    })

    test('is probed on the port it serves, and does BFD on the same number', () => {
      const ports = listAt(container, 'ports').map((entry) => [at(entry, 'protocol'), at(entry, 'containerPort')])
      expect(ports).toEqual([
        ['TCP', port],
        ['UDP', port],
      ])
      expect(at(container, 'livenessProbe', 'httpGet')).toEqual({ path: '/healthz', port: 'http' })
      expect(at(container, 'readinessProbe', 'httpGet')).toEqual({ path: '/readyz', port: 'http' })
    })

    test('says in the Pod’s status why it ended', () => {
      expect(at(container, 'terminationMessagePolicy')).toBe('FallbackToLogsOnError')
    })

    test('is root without power', () => {
      expect(at(container, 'securityContext')).toEqual({
        runAsUser: 0,
        runAsGroup: 0,
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: {
          drop: ['ALL'],
          add: verb === 'controller' ? ['NET_BIND_SERVICE', 'NET_ADMIN'] : ['NET_ADMIN', 'NET_RAW'],
        },
      })
    })

    test('is not evicted to make room, and bounds its memory', () => {
      expect(at(pod, 'priorityClassName')).toMatch(/^system-(cluster|node)-critical$/)
      expect(at(container, 'resources', 'limits', 'memory')).toBeDefined()
    })
  })

  test('keeps one of the two controllers alive through updates and drains, on hosts of their own', () => {
    const deployment = find('Deployment/bellhop-controller')
    expect(at(deployment, 'spec', 'replicas')).toBe(2)
    expect(at(deployment, 'spec', 'strategy', 'rollingUpdate')).toEqual({ maxSurge: 0, maxUnavailable: 1 })
    expect(at(find('PodDisruptionBudget/bellhop-controller'), 'spec', 'minAvailable')).toBe(1)
    const affinity = at(deployment, 'spec', 'template', 'spec', 'affinity', 'podAntiAffinity')
    const [term] = listAt(affinity, 'requiredDuringSchedulingIgnoredDuringExecution')
    expect(at(term, 'topologyKey')).toBe('kubernetes.io/hostname')
  })

  test('runs the agent on every node, whatever its taints, with the lock that iptables shares', () => {
    const pod = at(find('DaemonSet/bellhop-agent'), 'spec', 'template', 'spec')
    expect(at(pod, 'tolerations')).toEqual([{ operator: 'Exists' }])
    const paths = listAt(pod, 'volumes').map((volume) => at(volume, 'hostPath', 'path'))
    expect(paths).toEqual(['/run/xtables.lock', '/lib/modules'])
  })
})

describe('docker/Dockerfile', () => {
  const dockerfile = readFileSync(path.join(repositoryRoot, 'docker/Dockerfile'), 'utf8')
  const sent = readFileSync(path.join(repositoryRoot, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1))
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources = '']) =>
    sources.split(' '),
  )

  test('copies files that exist and that .dockerignore lets through', () => {
    expect(copied).toEqual(['package.json', 'package-lock.json', 'scripts/build.ts', 'crds', 'src'])
    expect(copied.filter((source) => !existsSync(path.join(repositoryRoot, source)))).toEqual([])
    expect([...copied].sort()).toEqual([...sent].sort())
  })

  test('runs as nobody unless a Pod says otherwise', () => {
    expect(dockerfile).toMatch(/^USER 65532:65532$/m)
  })
})
