// Who may do what: every right of the two service accounts is a row here, and everything else is refused.
import { expect, test } from 'vitest'
import { type ResourceAttributes, ruleAllows } from '../../src/lab/apiserver/auth/rbac.ts'
import { describeWith } from '../support/privileges.ts'
import { at, isObject, listAt, renderBase, renderNodeSpeakers } from './rendered.ts'

const VERBS = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection'] as const
const READ = 'get list watch'
/** What a client needs that keeps a copy. */
const FOLLOW = 'list watch'
const OURS = 'bellhop-system'

/** group, resource, namespace ('' is cluster-wide, * any), and the verbs that are allowed. */
type Row = readonly [group: string, resource: string, namespace: string, verbs: string]

const controller: readonly Row[] = [
  ['', 'services', 'default', `${READ} patch`],
  ['', 'services/status', 'default', 'patch'],
  ['discovery.k8s.io', 'endpointslices', 'default', FOLLOW],
  ['', 'nodes', '', FOLLOW],
  ['', 'nodes/status', '', ''],
  ['', 'namespaces', '', FOLLOW],
  ['', 'secrets', OURS, FOLLOW],
  ['', 'secrets', 'default', ''],
  ['', 'secrets', '', ''],
  ['', 'configmaps', OURS, ''],
  ['', 'pods', 'default', ''],
  ['', 'pods/exec', 'default', ''],
  ['bellhop.io', 'bgpconfs', '', FOLLOW],
  ['bellhop.io', 'bgpconfs/status', '', 'patch'],
  ['bellhop.io', 'bgppeers', '', FOLLOW],
  ['bellhop.io', 'bgppeers/status', '', 'patch'],
  ['bellhop.io', 'bgppolicies', '', FOLLOW],
  ['bellhop.io', 'bgppolicies/status', '', 'patch'],
  ['bellhop.io', 'vippools', '', FOLLOW],
  ['bellhop.io', 'vippools/status', '', 'patch'],
  ['bellhop.io', 'vips', '', `${FOLLOW} create patch delete`],
  ['bellhop.io', 'vips/status', '', 'patch'],
  ['coordination.k8s.io', 'leases', OURS, `${READ} create patch delete`],
  ['coordination.k8s.io', 'leases', 'kube-system', ''],
  ['', 'events', 'default', 'create patch'],
  ['apiextensions.k8s.io', 'customresourcedefinitions', '', ''],
  ['rbac.authorization.k8s.io', 'clusterroles', '', ''],
  ['admissionregistration.k8s.io', 'validatingwebhookconfigurations', '', ''],
]

const agent: readonly Row[] = [
  ['bellhop.io', 'vips', '', FOLLOW],
  ['bellhop.io', 'vips/status', '', ''],
  ['bellhop.io', 'bgppeers', '', FOLLOW],
  ['bellhop.io', 'bgppeers/status', '', ''],
  ['bellhop.io', 'vippools', '', ''],
  ['', 'nodes', '', FOLLOW],
  ['', 'nodes/status', '', ''],
  ['', 'services', 'default', ''],
  ['', 'secrets', OURS, ''],
  ['', 'secrets', '', ''],
  ['', 'pods', 'default', ''],
  ['coordination.k8s.io', 'leases', OURS, `${FOLLOW} create patch delete`],
  ['coordination.k8s.io', 'leases', 'kube-system', ''],
  ['', 'events', 'default', 'create patch'],
  ['rbac.authorization.k8s.io', 'clusterroles', '', ''],
]

/** What it may do beyond that where it speaks BGP for its node. */
const nodeSpeaker: readonly Row[] = [
  ['', 'services', 'default', FOLLOW],
  ['', 'services/status', 'default', ''],
  ['discovery.k8s.io', 'endpointslices', 'default', FOLLOW],
  ['bellhop.io', 'bgpconfs', '', FOLLOW],
  ['bellhop.io', 'bgpconfs/status', '', ''],
  ['bellhop.io', 'bgppeers/status', '', 'patch'],
  ['bellhop.io', 'bgppolicies', '', FOLLOW],
  ['bellhop.io', 'vippools', '', FOLLOW],
  ['bellhop.io', 'vips/status', '', ''],
  ['', 'secrets', OURS, ''],
  ['', 'namespaces', '', ''],
]

describeWith({ programs: ['kubectl'] }, 'the rights of the service accounts in deploy/base', () => {
  const base = renderBase()
  const overlay = renderNodeSpeakers()

  /** The rules that the bindings give an account in a namespace. */
  function rulesOf(account: string, namespace: string, objects = base) {
    const bindings = objects.filter(
      (object) =>
        (object['kind'] === 'ClusterRoleBinding' ||
          (object['kind'] === 'RoleBinding' && at(object, 'metadata', 'namespace') === namespace)) &&
        listAt(object, 'subjects').some(
          (subject) => at(subject, 'name') === account && at(subject, 'namespace') === OURS,
        ),
    )
    return bindings.flatMap((binding) => {
      const role = objects.find(
        (object) =>
          object['kind'] === at(binding, 'roleRef', 'kind') &&
          at(object, 'metadata', 'name') === at(binding, 'roleRef', 'name') &&
          at(object, 'metadata', 'namespace') === at(binding, 'metadata', 'namespace'),
      )
      return listAt(role, 'rules').filter(isObject)
    })
  }

  function allowedVerbs(account: string, [group, resource, namespace]: Row, objects = base, name = 'x'): string {
    const rules = rulesOf(account, namespace, objects)
    const ask = (verb: string): ResourceAttributes => ({ verb, group, resource, namespace, name })
    return VERBS.filter((verb) => rules.some((rule) => ruleAllows(rule, ask(verb)))).join(' ')
  }

  test.each(controller)('the controller on %s/%s in "%s": %s', (...row) => {
    expect(allowedVerbs('bellhop-controller', row)).toBe(row[3])
  })

  test.each(agent)('the agent on %s/%s in "%s": %s', (...row) => {
    expect(allowedVerbs('bellhop-agent', row)).toBe(row[3])
  })

  test.each(nodeSpeaker)('an agent that speaks BGP on %s/%s in "%s": %s', (...row) => {
    expect(allowedVerbs('bellhop-agent', row, overlay)).toBe(row[3])
  })

  test('an agent that speaks BGP reads the one Secret that has the passwords of its sessions', () => {
    expect(allowedVerbs('bellhop-agent', ['', 'secrets', OURS, FOLLOW], overlay, 'bgp-node-peers')).toBe(FOLLOW)
  })

  test('no rule is missing from the tables above', () => {
    for (const [account, rows, objects] of [
      ['bellhop-controller', controller, overlay],
      ['bellhop-agent', agent, base],
      ['bellhop-agent', [...agent, ...nodeSpeaker], overlay],
    ] as const) {
      const granted = rulesOf(account, OURS, objects).flatMap((rule) =>
        listAt(rule, 'apiGroups').flatMap((group) =>
          listAt(rule, 'resources').map((resource) => `${group}/${resource}`),
        ),
      )
      const listed = new Set(rows.map(([group, resource]) => `${group}/${resource}`))
      expect(granted.filter((right) => !listed.has(right))).toEqual([])
    }
  })

  test('the agent may read one Secret, the keys of liveness', () => {
    const rules = rulesOf('bellhop-agent', OURS)
    const may = (verb: string, name: string): boolean =>
      rules.some((rule) => ruleAllows(rule, { verb, group: '', resource: 'secrets', namespace: OURS, name }))
    expect(VERBS.filter((verb) => may(verb, 'bellhop-liveness'))).toEqual(['list', 'watch'])
    expect(VERBS.filter((verb) => may(verb, '') || may(verb, 'leaf1-md5'))).toEqual([])
  })

  test('no rule uses a wildcard', () => {
    const rules = overlay.flatMap((object) => listAt(object, 'rules'))
    expect(JSON.stringify(rules)).not.toContain('"*"')
  })
})
