// What an agent says on its Lease of the rules on its node, for the controllers to read: both sides have to agree upon it.

/** The resourceVersion of Vips up to which the rules are in place; "0" = none since the agent began. */
export const inPlaceAnnotation = 'bellhop.io/in-place'

/** Which start of the node this is: rules outlive their agent, and do not outlive the kernel. */
export const bootAnnotation = 'bellhop.io/boot'
