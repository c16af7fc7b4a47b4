import { describeInterop } from './suite.ts'

describeInterop('exabgp')
