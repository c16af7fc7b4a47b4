// Creates a network, destroys it and ends: an owner without anything else to keep it alive.

import { createNetwork } from '../../../src/lab/netns/network.ts'

const network = await createNetwork({ prefix: 'bhends' })
await network.addNamespace('a')
await network.destroy()
