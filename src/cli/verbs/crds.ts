// `bellhop crds`: prints the CustomResourceDefinitions of this version, for `bellhop crds | kubectl apply -f -`.

import { readdirSync, readFileSync } from 'node:fs'

/** crds/ of the repository; the bundle carries a copy beside itself. */
const directories = [new URL('../../../crds/', import.meta.url), new URL('./crds/', import.meta.url)]

/** All definitions as one YAML stream, in the order of their names. */
export function renderCrds(): string {
  for (const directory of directories) {
    const names = listYaml(directory)
    if (names.length > 0)
      return names.map((name) => readFileSync(new URL(name, directory), 'utf8').trimEnd()).join('\n---\n')
  }
  throw new Error(`no CRDs found in ${directories.map((d) => d.pathname).join(' or ')}`)
}

function listYaml(directory: URL): readonly string[] {
  try {
    return readdirSync(directory)
      .filter((name) => name.endsWith('.yaml') && name !== 'kustomization.yaml')
      .sort()
  } catch {
    return []
  }
}
