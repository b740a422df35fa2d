/** An endpoint of the laboratory: a Node server on the SDK with the default applications, on both VIPs. */
import { createEndpoint } from '@restitch/endpoint';
import type { Endpoint, Session } from '@restitch/endpoint';
import { keepCapabilities } from '@restitch/sys';
import { serveAsking } from '../load/apps/asking-app.js';
import { serveBurn } from '../load/apps/burn-app.js';
import { serveEcho } from '../load/apps/echo-app.js';
import { serveFiles } from '../load/apps/files-app.js';
import { serveSink } from '../load/apps/sink-app.js';
import { serveTail } from '../load/apps/tail-app.js';
import { serveTicks } from '../load/apps/ticks-app.js';
import type { LabListener } from './lab-plan.js';
import { stderrLogger } from '@restitch/console';
import type { EndpointProgramOptions } from './start-parties.js';

const applications: Readonly<Record<LabListener['application'], (session: Session) => void>> = {
  asking: serveAsking,
  burn: serveBurn,
  echo: serveEcho,
  files: serveFiles,
  sink: serveSink,
  tail: serveTail,
  ticks: serveTicks,
};

async function main(options: EndpointProgramOptions): Promise<void> {
  // What a user's unit gives the application, and no more: a call that wants more fails here first.
  keepCapabilities(['CAP_NET_ADMIN']);
  const endpoint = createEndpoint({
    name: options.name,
    accessPoint: options.accessPoint,
    tls: options.tls,
    stateAddress: { host: options.address, port: 0 },
    app: { name: 'restitch-lab', version: '1' },
    logger: stderrLogger,
    ...(options.agentSocket === undefined ? {} : { guard: { agentSocket: options.agentSocket } }),
  });
  for (const listener of options.listeners) await listen(endpoint, listener);
  // The SDK's own handler moves sessions away and exits; one that has none is stopped with its sessions.
  if (!('drain' in endpoint)) process.on('SIGTERM', () => process.exit(0));
  if (!endpoint.isConnected) {
    await new Promise<void>((resolve) => {
      endpoint.on('status', (status) => status.t === 'connected' && resolve());
    });
  }
  process.send?.({ t: 'ready' }, undefined, undefined, () => process.disconnect());
}

async function listen(
  endpoint: Endpoint,
  listener: EndpointProgramOptions['listeners'][number],
): Promise<void> {
  const server = endpoint.createServer(
    {
      listener: listener.name,
      noDelay: true,
      allowHalfOpen: true,
      ...(listener.level === 'none' ? {} : { protection: { level: listener.level } }),
    },
    applications[listener.application],
  );
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: listener.address, port: listener.port, backlog: 4096 }, resolve);
  });
}

await main(JSON.parse(process.argv[2] ?? '{}') as EndpointProgramOptions);
