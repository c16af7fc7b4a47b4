import { describeInterop } from './suite.ts'

describeInterop('gobgp')
