import { describeInterop } from './suite.ts'

describeInterop('frr', { showsPathIds: true, logsShutdownText: true, sendsShutdownText: true })
