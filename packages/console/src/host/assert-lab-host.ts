/** What `demo`, `lab` and `bench` ask before they touch anything: one sentence and its remedy instead of a half-built laboratory. */
import { release } from 'node:os';
import { RestitchError } from '@restitch/core';
import { type HostRole, checkFeatures, hostChecks, runChecks } from './check-host.js';
import { type HostFacts, createHostFacts } from './host-facts.js';

const role: HostRole = 'lab';

/** Throws `unsupported_host` naming the first thing that is needed and missing, with its remedy; exit code 2. */
export async function assertLabHost(
  facts: HostFacts = createHostFacts(release()),
  userId = process.getuid?.() ?? 0,
): Promise<void> {
  if (userId !== 0) {
    throw new RestitchError(
      'unsupported_host',
      'you are not root, and network namespaces and BPF need it: run the same command with sudo',
    );
  }
  const results = [...(await runChecks(hostChecks, role, facts)), ...(await checkFeatures(role, facts))];
  const missing = results.filter((result) => result.status === 'missing');
  const [first, ...others] = missing;
  if (first === undefined) return;
  const more = others.length === 0 ? '' : ` (and ${others.length} more: restitch check lists them)`;
  throw new RestitchError('unsupported_host', `${first.name} is missing: ${first.remedy}${more}`, {
    details: { missing: missing.map((result) => result.name) },
  });
}
