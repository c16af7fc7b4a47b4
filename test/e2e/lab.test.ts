// `bellhop lab` as a newcomer meets it: what it prints can be pasted into another terminal, and Ctrl-C takes everything away.

import { existsSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { nodeProgram } from '../../src/lab/netns/node-program.ts'
import { startProcess } from '../../src/lab/netns/process.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { programsOf } from '../../src/lab/routers/create-router.ts'
import { systemExec } from '../../src/runtime/exec.ts'
import { describeWith } from '../support/privileges.ts'

const programs = ['iptables', 'curl', 'kubectl', 'bash', ...programsOf('bird'), ...programsOf('frr')]

describeWith({ netns: true, programs }, 'bellhop lab', () => {
  test('prints lines that work when they are pasted, and leaves nothing when it is interrupted', {
    timeout: 120_000,
  }, async () => {
    const lab = startProcess(nodeProgram('src/cli/main.ts', ['lab']))
    try {
      await lab.waitUntil(() => lab.output().includes('Ctrl-C here'), { what: 'the lab is up', timeoutMs: 60_000 })
      const lines = lab
        .output()
        .split('\n')
        .map((line) => line.trim())
      const line = (part: string): string => {
        const found = lines.find((each) => each.includes(part))
        if (found === undefined) throw new Error(`no line has ${part}:\n${lab.output()}`)
        return found
      }
      const setUp = line('export KUBECONFIG=')
      const paste = async (text: string): Promise<string> => {
        const { status, stdout, stderr } = await systemExec('bash', ['-c', `${setUp}\n${text}`], { timeoutMs: 30_000 })
        return status === 0 ? stdout : `status ${status}: ${stderr}`
      }
      const says = (command: string, what: string): Promise<true> =>
        waitFor(async () => (await paste(command)).includes(what) || undefined, { what: `${command} says ${what}` })

      expect(await paste(line('kubectl apply -f'))).toContain('service/whoami created')
      await says(line('kubectl get'), 'node1,node2,node3')
      await says(line(' curl '), '"client":"198.51.100.10"')
      await says(`${line('birdc')} show route 203.0.113.10/32`, 'via 10.0.0.13')
      await says(`${line('vtysh')} -c 'show bgp ipv6 unicast 2001:db8:1::10/128'`, 'fd00:10::13')

      const directory = path.dirname(/KUBECONFIG=(\S+)/.exec(setUp)?.[1] ?? '')
      expect(existsSync(directory)).toBe(true)
      lab.kill('SIGINT')
      expect(await lab.end).toEqual({ status: 0, signal: null })
      expect(existsSync(directory)).toBe(false)
      expect((await systemExec('ip', ['netns', 'list'])).stdout).not.toContain(path.basename(directory))
    } finally {
      await lab.stop()
    }
  })
})
