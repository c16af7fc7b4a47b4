// Prints its argument, then every line it is given: stands for one of our own programs in the tests of the namespaces.

import { createInterface } from 'node:readline'

console.log(process.argv[2])
createInterface({ input: process.stdin }).on('line', (line) => console.log(`echo ${line}`))
