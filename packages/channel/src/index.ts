/** Public door of @restitch/channel. */
export type { Channel, PeerIdentity, PeerRole, TlsFiles } from './contract.js';
