import { describeInterop } from './suite.ts'

describeInterop('exabgp', { showsPathIds: true, logsShutdownText: false, sendsShutdownText: false })
