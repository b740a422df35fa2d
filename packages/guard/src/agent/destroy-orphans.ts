/**
 * Sockets whose process has died linger in FIN_WAIT1, resending what nobody stands for; SOCK_DESTROY ends them. `ss -K`
 * does it by filter: one process for many sockets, and only when a process has died.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type Flow, formatSocketAddress } from '@restitch/core';

const run = promisify(execFile);

/** Sockets named in one call: the filter is an argument, and arguments are bounded. */
const chunkFlows = 100;

/** Destroys the server's sockets of these flows in the current network namespace; those that are gone are passed over. */
export async function destroyOrphans(flows: readonly Flow[]): Promise<void> {
  for (let i = 0; i < flows.length; i += chunkFlows) {
    const filter = flows
      .slice(i, i + chunkFlows)
      .map((flow) => `( src ${formatSocketAddress(flow.vip)} and dst ${formatSocketAddress(flow.client)} )`)
      .join(' or ');
    await run('ss', ['-K', '-t', '-n', '-H', 'state', 'all', filter]);
  }
}
