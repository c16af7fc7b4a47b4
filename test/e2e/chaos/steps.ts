// What may go wrong, and what people may do meanwhile. Each step is drawn whole from the random numbers (whom, how, for how long) before
// anything of it is done, so that a seed names the same steps on any machine; what the world then makes of them is its own affair.

import type { Random } from '../../fuzz/runner.ts'
import { apiFault, apiForgets, apiRestart, leaderCutOff } from './steps/api-server.ts'
import { refreshSession, resetSession, restartLeaf, unplugLeaf } from './steps/leaves.ts'
import { deleteNode, editNode, spoilRules, unplugNode } from './steps/nodes.ts'
import { deleteVip, editConf, editPeer, editPolicy, editPool, rotatePassword, secondPool } from './steps/objects.ts'
import { editPod, scale } from './steps/pods.ts'
import { endAgent, endController, stopAgent, stopController } from './steps/programs.ts'
import { createService, deleteService, editService } from './steps/services.ts'
import type { Draw, Step } from './steps/step.ts'
import type { ChaosWorld } from './world.ts'

/** Draws one step, of these groups. */
export function drawStep(random: Random, world: ChaosWorld, from: readonly string[]): Step {
  return random.pick(groups[random.pick(from)] ?? [])(random, world)
}

/** Within one, each step is as likely as the next. */
const groups: Readonly<Record<string, readonly Draw[]>> = {
  controllers: [endController, endController, stopController],
  agents: [endAgent, stopAgent],
  api: [apiFault, apiFault, apiRestart, apiForgets, leaderCutOff],
  leaves: [restartLeaf, resetSession, resetSession, refreshSession, unplugLeaf],
  nodes: [unplugNode, unplugNode, editNode, editNode, deleteNode, spoilRules],
  pods: [editPod, editPod, editPod, scale],
  services: [createService, createService, deleteService, editService, editService],
  objects: [editPool, editPool, secondPool, editPeer, rotatePassword, editConf, editPolicy, deleteVip],
}

export const groupNames: readonly string[] = Object.keys(groups)
