/** Door for sibling packages of @restitch/analytics. */
export { createRandomFleet } from './plan/random-fleet.js';
export type { RandomFleetOptions } from './plan/random-fleet.js';
