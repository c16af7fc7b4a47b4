import { describeInterop } from './suite.ts'

describeInterop('bird', { showsPathIds: false, logsShutdownText: true, sendsShutdownText: true })
