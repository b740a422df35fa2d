/** What a failed run of `lab crash` or `lab chaos` leaves behind: the laboratory goes away with its logs, sockets and maps. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createGuardControl, openGuardPins } from '@restitch/guard/internal';
import { listPinnedRecords } from '@restitch/dataplane/internal';
import type { Lab } from './lab.js';
import { guardPinsOf } from './start-parties.js';
import { runTool } from './run-tool.js';

/** Where the evidence of a laboratory is kept. */
function evidenceFile(lab: Lab, suffix = ''): string {
  return `/tmp/restitch-crash-${lab.plan.id}${suffix}.log`;
}

/** Every party's TCP sockets as `ss` shows them, and what each endpoint's guard holds. */
export function describeConnections(lab: Lab): string {
  const records = attempt(() => listPinnedRecords(lab.plan.pinDirectory).map(toLine).join('\n'));
  const parties = ['client', ...lab.state.endpoints].map((name) => lab.party(name));
  const described = parties.flatMap((party) => {
    const inside = [`--net=/run/netns/${party.namespace}`, 'ss', '-Htnieao'];
    const guard = party.role === 'endpoint' ? describeGuard(guardPinsOf(lab.plan, party)) : [];
    return [`=== sockets of ${party.name}`, attempt(() => runTool('nsenter', inside)), ...guard];
  });
  return ['=== flow records', records, ...described].join('\n');
}

/** Writes all logs, and `more` if there is any, into one file; returns its path. */
export function keepEvidence(lab: Lab, more = '', suffix = ''): string {
  const names = readdirSync(lab.plan.directory).filter((file) => file.endsWith('.log'));
  const logs = names.map(
    (name) => `=== ${name}\n${attempt(() => readFileSync(`${lab.plan.directory}/${name}`, 'utf8'))}`,
  );
  const file = evidenceFile(lab, suffix);
  writeFileSync(file, [...logs, more].join('\n'));
  return file;
}

function describeGuard(pinDirectory: string): string[] {
  return [
    `=== guard ${pinDirectory}`,
    attempt(() => {
      const pins = openGuardPins(pinDirectory);
      try {
        const control = createGuardControl(pins);
        const flows = control
          .list()
          .map((flow) => ({ ...flow, leaseEndsAtNs: control.leaseEndsAtNs(flow.lease) }));
        return [control.verdicts(), { nowNs: process.hrtime.bigint() }, ...flows].map(toLine).join('\n');
      } finally {
        pins.close();
      }
    }),
  ];
}

function toLine(value: unknown): string {
  return JSON.stringify(value, (_key, v: unknown) => (typeof v === 'bigint' ? String(v) : v));
}

/** Evidence is gathered from what may be half gone: what cannot be read says so. */
function attempt(read: () => string): string {
  try {
    return read();
  } catch (error) {
    return `(${(error as Error).message})`;
  }
}
