/** Public door of @restitch/wire: what whoever talks to a daemon or writes an application names. */
export type { AdminCall } from './admin/admin-protocol.js';
export type { PlainData } from './codec/plain-codec.js';
