// The demo's story as end-to-end tests: the same chapters on the same stage, with real routers, a real kernel and the real kubectl.
// The chapters build on each other, so they run in order; one that fails says which of its checks did not hold.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { chapters } from '../../src/lab/demo/demo.ts'
import { type Stage, setStage } from '../../src/lab/demo/stage.ts'
import { createStory } from '../../src/lab/demo/story.ts'
import { type Lab, startLab } from '../../src/lab/lab.ts'
import { programsOf } from '../../src/lab/routers/create-router.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { describeWith } from '../support/privileges.ts'
import { labCluster } from './support-named-cluster.ts'
import { grantedRights, notSeenOfAgents, type RecordedRights, recordRights, refusalsIn } from './support-rights.ts'

const programs = ['iptables', 'curl', 'kubectl', ...programsOf('bird'), ...programsOf('frr')]

describeWith({ netns: true, programs }, 'From kubectl apply to a client’s request', () => {
  const told: string[] = []
  const story = createStory({ write: (text) => told.push(text), clock: systemClock, terminal: false })
  let lab: Lab
  let stage: Stage
  let rights: RecordedRights | undefined

  beforeAll(async () => {
    const cluster = await labCluster()
    lab = await startLab({ prefix: 'story', leaves: ['bird', 'frr'], ...cluster, clock: systemClock, log: silentLog })
    stage = setStage(lab, story)
    rights = lab.api && recordRights(lab.api, 'agent')
  }, 60_000)
  afterAll(() => lab?.destroy(), 120_000)

  test.each(chapters)('%s', { timeout: 120_000 }, async (_title, chapter) => {
    const before = story.summary()
    told.length = 0
    await chapter(stage)
    const after = story.summary()
    expect(after.total).toBeGreaterThan(before.total)
    expect(after.passed - before.passed, told.join('')).toBe(after.total - before.total)
  })

  test('no program was refused anything, and the agents used every right that deploy/base gives them', () => {
    for (const program of [...stage.controllers.values(), ...stage.agents.values()])
      expect(refusalsIn(program.output())).toEqual([])
    // What a cluster that is not ours was asked for is not known.
    if (rights === undefined) return
    const granted = grantedRights('deploy/base/agent-rbac.yaml')
    const asked = rights.asked()
    expect(asked.filter((right) => !granted.includes(right))).toEqual([])
    expect(granted.filter((right) => !asked.includes(right) && !notSeenOfAgents.has(right))).toEqual([])
  })
})
