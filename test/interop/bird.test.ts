import { describeInterop } from './suite.ts'

describeInterop('bird')
