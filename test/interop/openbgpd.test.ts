import { describeInterop } from './suite.ts'

describeInterop('openbgpd', { showsPathIds: true, logsShutdownText: true, sendsShutdownText: true })
