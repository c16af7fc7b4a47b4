// Which endpoints a Service has, grouped by the ports they serve them on, and how they are laid out over slices. Pure; follows
// Kubernetes' endpointslice controller.

import { familyOf, type IpFamily, parseIp } from '../../../net/ip.ts'
import { type JsonObject, jsonEqual, numberAt, objectsAt, stringAt, stringsAt } from '../json.ts'
import { hasEnded, isReady, isTerminating } from './pods.ts'

/** `--max-endpoints-per-slice` of a cluster that sets nothing. */
const endpointsPerSliceMax = 100

/** Endpoints that share ports, and therefore slices. */
export interface EndpointGroup {
  readonly ports: readonly JsonObject[]
  readonly endpoints: readonly JsonObject[]
}

/** The endpoints of one family: pods that have an address and have not ended, grouped by resolved ports. */
export function endpointGroups(
  service: JsonObject,
  pods: readonly JsonObject[],
  family: IpFamily,
): readonly EndpointGroup[] {
  const groups = new Map<string, { ports: readonly JsonObject[]; endpoints: JsonObject[] }>()
  for (const pod of pods) {
    const address = podAddress(pod, family)
    if (address === undefined || hasEnded(pod)) continue
    const ports = resolvePorts(service, pod)
    const key = JSON.stringify(ports)
    const group = groups.get(key) ?? { ports, endpoints: [] }
    group.endpoints.push(endpointOf(service, pod, address))
    groups.set(key, group)
  }
  return [...groups.values()]
}

function podAddress(pod: JsonObject, family: IpFamily): string | undefined {
  const listed = objectsAt(pod, 'status', 'podIPs').map((entry) => stringAt(entry, 'ip') ?? '')
  const addresses = listed.length > 0 ? listed : [stringAt(pod, 'status', 'podIP') ?? '']
  return addresses.find((text) => {
    const ip = parseIp(text)
    return ip.ok && familyOf(ip.value) === family
  })
}

// A named target port is looked up in the pod; a pod that lacks it serves the other ports only.
function resolvePorts(service: JsonObject, pod: JsonObject): readonly JsonObject[] {
  return objectsAt(service, 'spec', 'ports').flatMap((port) => {
    const target = port['targetPort']
    const number = typeof target === 'string' ? namedPort(pod, target, port) : (target ?? port['port'])
    if (number === undefined) return []
    const appProtocol = stringAt(port, 'appProtocol')
    return [
      {
        name: stringAt(port, 'name') ?? '',
        protocol: stringAt(port, 'protocol') ?? 'TCP',
        port: number,
        ...(appProtocol === undefined ? {} : { appProtocol }),
      },
    ]
  })
}

function namedPort(pod: JsonObject, name: string, servicePort: JsonObject): number | undefined {
  const protocol = stringAt(servicePort, 'protocol') ?? 'TCP'
  const ports = objectsAt(pod, 'spec', 'containers').flatMap((container) => objectsAt(container, 'ports'))
  const found = ports.find(
    (port) => stringAt(port, 'name') === name && (stringAt(port, 'protocol') ?? 'TCP') === protocol,
  )
  return numberAt(found, 'containerPort')
}

function endpointOf(service: JsonObject, pod: JsonObject, address: string): JsonObject {
  const serving = isReady(pod)
  const terminating = isTerminating(pod)
  const always = stringAt(service, 'spec', 'clusterIP') !== undefined && publishesNotReady(service)
  const nodeName = stringAt(pod, 'spec', 'nodeName')
  return {
    addresses: [address],
    conditions: { ready: always || (serving && !terminating), serving, terminating },
    ...(nodeName === undefined ? {} : { nodeName }),
    targetRef: {
      kind: 'Pod',
      namespace: stringAt(pod, 'metadata', 'namespace'),
      name: stringAt(pod, 'metadata', 'name'),
      uid: stringAt(pod, 'metadata', 'uid'),
    },
  }
}

const publishesNotReady = (service: JsonObject): boolean => {
  const spec = service['spec'] as JsonObject | undefined
  return spec?.['publishNotReadyAddresses'] === true
}

/** A slice as it is, and the endpoints it is to have. */
export interface SlicePlan {
  readonly existing: JsonObject | undefined
  readonly ports: readonly JsonObject[]
  readonly endpoints: readonly JsonObject[]
}

/** Spreads groups over slices: endpoints stay in the slice they are in, new ones fill gaps, the rest makes new slices. */
export function layOut(groups: readonly EndpointGroup[], slices: readonly JsonObject[]): readonly SlicePlan[] {
  // A Service without endpoints still has one slice, empty, that says so.
  if (groups.length === 0) return [{ existing: slices[0], ports: [], endpoints: [] }]
  const unused = new Set(slices)
  const plans = groups.flatMap((group) => {
    const mine = slices.filter((slice) => jsonEqual(objectsAt(slice, 'ports'), group.ports))
    for (const slice of mine) unused.delete(slice)
    return layOutGroup(group, mine)
  })
  // A new group takes over a slice that no group needs any more, so that slices are changed in place.
  const spare = [...unused]
  return plans.map((plan) => (plan.existing === undefined ? { ...plan, existing: spare.shift() } : plan))
}

function layOutGroup({ ports, endpoints }: EndpointGroup, slices: readonly JsonObject[]): readonly SlicePlan[] {
  const waiting = new Map(endpoints.map((endpoint) => [addressOf(endpoint), endpoint]))
  const plans = slices.map((existing) => {
    const kept = objectsAt(existing, 'endpoints').flatMap((before) => {
      const now = waiting.get(addressOf(before))
      waiting.delete(addressOf(before))
      return now === undefined ? [] : [now]
    })
    return { existing, kept }
  })
  const rest = [...waiting.values()]
  const filled: SlicePlan[] = plans.map(({ existing, kept }) => {
    const added = rest.splice(0, Math.max(0, endpointsPerSliceMax - kept.length))
    return { existing, ports, endpoints: [...kept, ...added] }
  })
  while (rest.length > 0) filled.push({ existing: undefined, ports, endpoints: rest.splice(0, endpointsPerSliceMax) })
  return filled.filter((plan) => plan.endpoints.length > 0)
}

const addressOf = (endpoint: JsonObject): string => stringsAt(endpoint, 'addresses').join()
