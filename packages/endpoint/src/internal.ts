/** Door for sibling packages of @restitch/endpoint. */
export { assertNodeSupported } from './session/node-handle.js';
