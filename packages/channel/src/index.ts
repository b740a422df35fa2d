/** Public door of @restitch/channel. */
export type { Channel, PeerIdentity, PeerRole, TlsFiles } from './contract.js';
export { formatIdentity, parseIdentity, peerRoles } from './identity.js';
export type { PeerExpectation } from './identity.js';
export { listenChannels } from './listen-channels.js';
export type { ChannelListener, ListenOptions } from './listen-channels.js';
export { openChannel } from './open-channel.js';
export type { OpenOptions } from './open-channel.js';
export { Redial } from './redial.js';
