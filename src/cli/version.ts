// The version, read from package.json in development and put in its place by the bundler.

import packageJson from '../../package.json' with { type: 'json' }

export const version: string = packageJson.version
