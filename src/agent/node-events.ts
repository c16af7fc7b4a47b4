// What an agent tells people about its node: Events on the Node, which `kubectl describe node` shows. Only what changed is said;
// what lasts stands in the agent's Lease.

import type { KeeperNews } from '../datapath/keeper.ts'
import type { EventRecorder, EventSubject } from '../k8s/events.ts'

export type NodeNews =
  | KeeperNews
  | { readonly type: 'clock-jumped'; readonly seconds: number }
  | { readonly type: 'second-agent' }

/** Kubelets name the Node's name as its uid, and so does kubectl when it looks for a Node's Events: nobody has to read the Node. */
const nodeSubject = (node: string): EventSubject => ({
  apiVersion: 'v1',
  kind: 'Node',
  namespace: '',
  name: node,
  uid: node,
})

/** Says `news` about `node`. */
export function recordNodeNews(recorder: Pick<EventRecorder, 'record'>, node: string, news: NodeNews): void {
  recorder.record({ subject: nodeSubject(node), ...noteOf(news) })
}

function noteOf(news: NodeNews): {
  readonly severity: 'Normal' | 'Warning'
  readonly reason: string
  readonly message: string
} {
  switch (news.type) {
    case 'failed':
      return { severity: 'Warning', reason: 'VipRulesFailed', message: `rules for VIPs: ${news.error.message}` }
    case 'recovered':
      return { severity: 'Normal', reason: 'VipRulesRestored', message: 'the rules for VIPs are in place again' }
    case 'repaired':
      return {
        severity: 'Warning',
        reason: 'VipRulesRepaired',
        message: `somebody else changed the node's rules for VIPs (${news.drift.join(', ')}); they were put right`,
      }
    case 'clock-jumped':
      return {
        severity: 'Warning',
        reason: 'ClockJumped',
        message: `the node's clock went ${news.seconds > 0 ? 'forward' : 'back'} by ${Math.abs(news.seconds)} s at once`,
      }
    case 'second-agent':
      return {
        severity: 'Warning',
        reason: 'SecondAgent',
        message:
          'another bellhop agent runs on this node (look for a second DaemonSet); this one waits until it is gone',
      }
  }
}
