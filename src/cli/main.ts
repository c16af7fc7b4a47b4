// The command line: one verb a file, loaded only when it is asked for, so that the agent does not pay for the controller.

import { Command } from 'commander'
import { dropEmptyVariables, optionOf, settings } from './settings.ts'
import type { AgentFlags } from './verbs/agent.ts'
import type { ControllerFlags } from './verbs/controller.ts'
import type { LabFlags } from './verbs/lab.ts'
import type { MigrateFlags } from './verbs/migrate.ts'
import type { UninstallFlags } from './verbs/uninstall.ts'
import { version } from './version.ts'

/** Never from the environment: whoever wants a cluster of theirs used for this says so. */
const clusterFlag = [
  '--cluster <kubeconfig>',
  'keep the API objects on this cluster instead of the API server in this process; nothing that exists there is touched',
] as const

/** Builds the command tree; a verb's code is loaded when it runs. */
function createProgram(): Command {
  const program = new Command('bellhop')
    .description('LoadBalancer Services for bare-metal Kubernetes, announced by BGP')
    .version(version, '-V, --version')
    .showHelpAfterError('(see --help)')

  program
    .command('controller')
    .description('follow the cluster, allocate VIPs (as leader) and announce them by BGP')
    .addOption(optionOf(settings.kubeconfig))
    .addOption(optionOf(settings.namespace))
    .addOption(optionOf(settings.name))
    .addOption(optionOf(settings.node))
    .addOption(optionOf(settings.serviceClass))
    .addOption(optionOf(settings.defaultClass))
    .addOption(optionOf(settings.controllerHttpPort))
    .addOption(optionOf(settings.bfd))
    .addOption(optionOf(settings.adopt))
    .addOption(optionOf(settings.record))
    .addOption(optionOf(settings.logLevel))
    .addOption(optionOf(settings.logFormat))
    .action(async (flags: ControllerFlags) => (await import('./verbs/controller.ts')).controllerVerb(flags))

  program
    .command('agent')
    .description('open this node’s FORWARD path for the VIPs, and speak BGP for it where a BgpPeer says so')
    .addOption(optionOf(settings.kubeconfig))
    .addOption(optionOf(settings.namespace))
    .addOption(optionOf(settings.node))
    .addOption(optionOf(settings.backend))
    .addOption(optionOf(settings.enforceSourceRanges))
    .addOption(optionOf(settings.refuseUnusedPorts))
    .addOption(optionOf(settings.checkSeconds))
    .addOption(optionOf(settings.layer2HoldSeconds))
    .addOption(optionOf(settings.agentHttpPort))
    .addOption(optionOf(settings.bfd))
    .addOption(optionOf(settings.nodeBgp))
    .addOption(optionOf(settings.serviceClass))
    .addOption(optionOf(settings.defaultClass))
    .addOption(optionOf(settings.logLevel))
    .addOption(optionOf(settings.logFormat))
    .option('--cleanup', 'remove everything the agent ever wrote to this node, and end')
    .action(async (flags: AgentFlags) => (await import('./verbs/agent.ts')).agentVerb(flags))

  program
    .command('crds')
    .description('print the CustomResourceDefinitions, for kubectl apply -f -')
    .action(async () => void process.stdout.write(`${(await import('./verbs/crds.ts')).renderCrds()}\n`))

  program
    .command('replay')
    .argument('<file>', 'a file that controller --record wrote')
    .description('play a recording of BGP sessions through the state machine and print the changes of state')
    .action(async (file: string) => (await import('./verbs/replay.ts')).replayVerb(file))

  program
    .command('migrate')
    .description(
      'print the Bellhop objects that equal those of OpenELB (Porter) or MetalLB; exit status 1 if something needs a decision',
    )
    .option('-f, --filename <path...>', 'files, folders, or - for standard input; without it the cluster is read')
    .addOption(optionOf(settings.migrateFrom))
    .addOption(optionOf(settings.migrateSpeaker))
    .addOption(optionOf(settings.migrateServices))
    .addOption(optionOf(settings.kubeconfig))
    .addOption(optionOf(settings.serviceClass))
    .addOption(optionOf(settings.defaultClass))
    .action(async (flags: MigrateFlags) => (await import('./verbs/migrate.ts')).migrateVerb(flags))

  program
    .command('uninstall')
    .description(
      'take finalizers, conditions and addresses of ours off all Services, and the Vips away; before or after kubectl delete -k',
    )
    .addOption(optionOf(settings.kubeconfig))
    .addOption(optionOf(settings.namespace))
    .option('--keep-addresses', 'leave the addresses in the Services, for whoever serves them next')
    .option('--dry-run', 'say what would be done, and do nothing')
    .action(async (flags: UninstallFlags) => (await import('./verbs/uninstall.ts')).uninstallVerb(flags))

  program
    .command('demo')
    .description('build a cluster, two routers and a client in network namespaces, and show the whole story')
    .option(...clusterFlag)
    .action(async (flags: LabFlags) => (await import('./verbs/demo.ts')).demoVerb(flags))

  program
    .command('lab')
    .description('build the same world and keep it until Ctrl-C')
    .option(...clusterFlag)
    .action(async (flags: LabFlags) => (await import('./verbs/lab.ts')).labVerb(flags))

  program
    .command('version')
    .description('print the version')
    .action(() => void process.stdout.write(`${version}\n`))
  return program
}

// Whoever reads our output may stop reading: `bellhop crds | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

dropEmptyVariables()
await createProgram().parseAsync()
