// Where the worker's code is: beside this file in development; the build finds this expression and puts the bundled worker's name
// in its place.

export const livenessWorkerUrl = new URL('./worker.ts', import.meta.url)
