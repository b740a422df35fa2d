/** Door for sibling packages of @restitch/analytics. */
export { createRandomFleet } from './plan/random-fleet.js';
