/** The shortest way in: one server, one endpoint. */
import { Endpoint } from './endpoint.js';
import type { EndpointOptions, ServerOptions } from './options.js';
import type { ConnectionListener, Server } from './server.js';

/**
 * A server with an endpoint of its own, as near as possible to net.createServer; it ends with its server. Several
 * servers of one process share an endpoint made by `createEndpoint`. Throws `usage`.
 */
export function createServer(
  options: EndpointOptions & ServerOptions,
  onSession?: ConnectionListener,
): Server {
  const endpoint = new Endpoint(options);
  const server = endpoint.createServer(options, onSession);
  endpoint.on('status', (status) => server.emit('status', status));
  return server;
}
