import { describeInterop } from './suite.ts'

describeInterop('gobgp', { showsPathIds: false, logsShutdownText: true, sendsShutdownText: true })
