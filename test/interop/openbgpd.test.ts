import { describeInterop } from './suite.ts'

describeInterop('openbgpd')
