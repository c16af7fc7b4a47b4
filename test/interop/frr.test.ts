import { describeInterop } from './suite.ts'

describeInterop('frr')
