// The result as YAML for kubectl, with a comment for everything that is not simply the same: above the object it concerns, or at the
// end where there is no object. The words are wrapped, so that the file can be read and kept.

import { stringify } from 'yaml'
import type { Migrated, Migration, Note, Origin } from './types.ts'

const width = 118

const marks: Readonly<Record<Note['level'], string>> = { problem: '!', changed: '~', lost: '-' }

const banner = `Written by bellhop migrate. Addresses stay: Bellhop adopts what Services have in status.loadBalancer, as long as a VipPool
below covers it. Create these objects before the controller runs for the first time: an address that no pool covers is
replaced by one from a pool.
What the comments say of a field:  ! decide something   ~ carried over in another form   - not carried over`

/** A YAML stream for `kubectl apply -f -`, ending in a newline. */
export function renderMigration({ objects, without }: Migration): string {
  const tail = without.length === 0 ? [] : [[comment(['No object of its own:', ...without.flatMap(told)])]]
  const documents =
    objects.length === 0 ? [[comment(['Nothing to convert.'])], ...tail] : [...objects.map(document), ...tail]
  return `${comment(banner.split('\n'))}\n${documents.map((lines) => `---\n${lines.join('\n')}\n`).join('')}`
}

function document({ object, origins }: Migrated): readonly string[] {
  const heading = origins.flatMap(told)
  // Version 1.1 is what kubectl reads: there the bare words off, no and y are booleans, and must be quoted.
  const body = stringify(object, { version: '1.1', lineWidth: 0 }).trimEnd()
  return heading.length === 0 ? [body] : [comment(heading), body]
}

/** A foreign object by its name, and a line for each note. */
function told({ title, notes }: Origin): readonly string[] {
  return [
    ...wrap(`From ${title}`, '', '  '),
    ...notes.flatMap((note) => [
      ...wrap(noteLine(note), `  ${marks[note.level]} `, '    '),
      ...(note.command === undefined ? [] : [`      ${note.command}`]),
    ]),
  ]
}

/** `spec.vrf: words`. */
export const noteLine = ({ path, text }: Note): string => (path === '' ? text : `${path}: ${text}`)

const comment = (lines: readonly string[]): string => lines.map((line) => (line === '' ? '#' : `# ${line}`)).join('\n')

/** Lines of at most `width` characters, broken between words. */
function wrap(text: string, first: string, rest: string): readonly string[] {
  const lines: string[] = []
  let line = first
  let empty = true
  for (const word of text.split(/\s+/)) {
    if (!empty && line.length + 1 + word.length > width) {
      lines.push(line)
      line = rest
      empty = true
    }
    line += empty ? word : ` ${word}`
    empty = false
  }
  return [...lines, line]
}
