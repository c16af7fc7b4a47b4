// One runner for everything. Tests that need root, network namespaces or routers say so themselves (test/support/privileges.ts).
import { defineConfig } from 'vitest/config'
import { createSkippedReporter } from './test/support/skipped-reporter.ts'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'forks',
    maxWorkers: 2,
    reporters: ['default', createSkippedReporter()],
  },
})
