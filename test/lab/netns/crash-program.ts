// Creates a network with a program in it and waits to be killed, so that a test can see what cleans up after it.

import { createNetwork } from '../../../src/lab/netns/network.ts'

const network = await createNetwork({ prefix: 'bhcrash' })
const namespace = await network.addNamespace('a')
const sleeper = namespace.spawn(['sleep', '1000'])
console.log(JSON.stringify([namespace.kernelName, sleeper.pid]))
