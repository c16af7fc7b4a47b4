// docs/interop.md: which features were seen to work with which daemon, in which version. Written from the outcomes of a run, read
// by the test that holds it against the list of features.

import type { RouterKind } from '../../src/lab/routers/router.ts'
import type { FeatureRow } from './features/feature.ts'

/** The columns, in their order. */
export const daemons: readonly { readonly kind: RouterKind; readonly title: string }[] = [
  { kind: 'bird', title: 'BIRD' },
  { kind: 'frr', title: 'FRR' },
  { kind: 'gobgp', title: 'GoBGP' },
  { kind: 'openbgpd', title: 'OpenBGPD' },
  { kind: 'exabgp', title: 'ExaBGP' },
]

/** What a test showed. */
export type Outcome = 'yes' | 'no'

/** By daemon, then by name of the feature. */
export type Outcomes = ReadonlyMap<RouterKind, ReadonlyMap<string, Outcome>>

const introduction = `# Interoperability

Our speaker against routers that we did not write, each in network namespaces of its own. Every cell is a test of
\`test/interop\`; the table is written by a run of all of them (\`node test/interop/write-document.ts\`), and a test fails when
it says anything but what is tested. Routers are configured by \`src/lab/routers\`; how to configure yours is in
[routers.md](routers.md).
`

/** The document. Throws when an outcome is missing: half a run makes no table. */
export function renderDocument(
  features: readonly FeatureRow[],
  outcomes: Outcomes,
  versions: ReadonlyMap<RouterKind, string>,
): string {
  const reasons = reasonsOf(features)
  const cell = ({ name, except }: FeatureRow, kind: RouterKind): string => {
    const reason = except?.[kind]
    if (reason !== undefined) return noteOf(reasons, kind, reason)
    const outcome = outcomes.get(kind)?.get(name)
    if (outcome === undefined) throw new Error(`${kind} was not tested: ${name}`)
    return outcome
  }
  return [
    introduction,
    row(['', ...daemons.map(({ kind, title }) => `${title} ${versions.get(kind) ?? '?'}`)]),
    row(['---', ...daemons.map(() => ':-:')]),
    ...features.map((feature) => row([feature.name, ...daemons.map(({ kind }) => cell(feature, kind))])),
    '',
    'Not tested, because the daemon:',
    '',
    ...reasons.map(({ title, reason }, i) => `- (${i + 1}) ${title} ${reason}`),
    '',
  ].join('\n')
}

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`

interface Reason {
  readonly kind: RouterKind
  readonly title: string
  readonly reason: string
}

// Each once, in the order in which the table names them.
function reasonsOf(features: readonly FeatureRow[]): readonly Reason[] {
  const reasons: Reason[] = []
  for (const { except } of features)
    for (const { kind, title } of daemons) {
      const reason = except?.[kind]
      if (reason !== undefined && !reasons.some((known) => known.kind === kind && known.reason === reason))
        reasons.push({ kind, title, reason })
    }
  return reasons
}

const noteOf = (reasons: readonly Reason[], kind: RouterKind, reason: string): string =>
  `(${reasons.findIndex((known) => known.kind === kind && known.reason === reason) + 1})`

/** The versions in the heading of a document. */
export function versionsIn(document: string): ReadonlyMap<RouterKind, string> {
  return new Map(
    daemons.flatMap(({ kind, title }) => {
      const version = new RegExp(`\\| ${title} (\\S+) \\|`).exec(document)?.[1]
      return version === undefined ? [] : [[kind, version] as const]
    }),
  )
}
