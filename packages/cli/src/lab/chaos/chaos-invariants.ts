/** What must hold whenever the laboratory is at rest: the closed list that chaos checks. */
import { setTimeout as sleep } from 'node:timers/promises';
import { labPorts, protectedPorts } from '../lab-plan.js';
import { runTool } from '../run-tool.js';
import type { ChaosBed } from './chaos-bed.js';

/** Every invariant, with what it says. */
export const invariants = {
  oneOwner:
    'each session has one owner, its record names that owner with its epoch, and that endpoint alone has the socket',
  byteExact: 'no client has seen a lost, doubled or wrong byte',
  noReset:
    'no client connection was reset or closed, but those at level none whose server process was declared dead',
  noOrphan: 'no endpoint has a socket of the VIP that belongs to no session',
  noHang: 'every client gets answers',
  nothingLeft: 'after the laboratory is down no namespace, pin, process or cgroup of it is left',
} as const;

/** Name of an invariant. */
export type InvariantName = keyof typeof invariants;

/** A broken invariant, with what was seen. */
export interface Violation {
  readonly step: number;
  readonly invariant: InvariantName;
  readonly what: string;
}

/** An answer that is this late, with all links healed, is a hang: TCP's own retries had time to end it. */
const hangMs = 8000;
/** Sockets of a session that was just released may still be there for a moment. */
const socketGraceMs = 2000;

/** Checks everything that can be checked while clients run. */
export async function checkAtRest(bed: ChaosBed): Promise<Array<Omit<Violation, 'step'>>> {
  const found: Array<Omit<Violation, 'step'>> = [];
  found.push(...(await checkOwners(bed)));
  found.push(...(await checkSockets(bed)));
  const { mismatchedBytes, lostBytes, duplicatedBytes, broken } = bed.fleet.totals;
  if (mismatchedBytes + lostBytes + duplicatedBytes > 0) {
    const what = `${mismatchedBytes} mismatched, ${lostBytes} lost, ${duplicatedBytes} doubled bytes`;
    found.push({ invariant: 'byteExact', what });
  }
  const wronged = broken.filter((tag) => !bed.bereaved.has(tag));
  if (wronged.length > 0)
    found.push({ invariant: 'noReset', what: `the connections of ${wronged.join(', ')} ended` });
  found.push(...(await checkProgress(bed)));
  return found;
}

async function checkOwners(bed: ChaosBed): Promise<Array<Omit<Violation, 'step'>>> {
  const sessions = await bed.admin.sessions();
  const found: Array<Omit<Violation, 'step'>> = [];
  const known = new Map(sessions.map((s) => [s.id, s]));
  for (const id of bed.sessionIds) {
    const session = known.get(id);
    if (session === undefined) {
      found.push({ invariant: 'oneOwner', what: `session ${id} has no owner` });
      continue;
    }
    const { record } = await bed.admin.story(id);
    if (session.doubt !== null)
      found.push({ invariant: 'oneOwner', what: `session ${id}: ${session.doubt}` });
    if (record?.endpoint !== session.endpoint || record.epoch !== session.epoch) {
      const what =
        `session ${id} is at ${session.endpoint} epoch ${session.epoch}, ` +
        `its record says ${record?.endpoint ?? 'nothing'} epoch ${record?.epoch ?? '-'}`;
      found.push({ invariant: 'oneOwner', what });
    }
  }
  return found;
}

/** Compares the kernel's sockets in each endpoint's namespace with what the access point believes. */
async function checkSockets(bed: ChaosBed): Promise<Array<Omit<Violation, 'step'>>> {
  for (let waitedMs = 0; ; waitedMs += 100) {
    const found = await compareSockets(bed);
    if (found.length === 0 || waitedMs >= socketGraceMs) return found;
    await sleep(100);
  }
}

async function compareSockets(bed: ChaosBed): Promise<Array<Omit<Violation, 'step'>>> {
  const sessions = await bed.admin.sessions();
  const found: Array<Omit<Violation, 'step'>> = [];
  for (const name of bed.endpointNames) {
    const expected = new Set(sessions.filter((s) => s.endpoint === name).map((s) => s.flow.client.port));
    const actual = listClientPorts(bed, name);
    for (const port of expected) {
      if (!actual.has(port))
        found.push({ invariant: 'oneOwner', what: `${name} has no socket for client port ${port}` });
    }
    for (const port of actual) {
      if (!expected.has(port))
        found.push({ invariant: 'noOrphan', what: `${name} has a socket for client port ${port}` });
    }
  }
  return found;
}

function listClientPorts(bed: ChaosBed, endpoint: string): Set<number> {
  const { namespace } = bed.lab.party(endpoint);
  const text = runTool('nsenter', [
    `--net=/run/netns/${namespace}`,
    'ss',
    '-tnH',
    'state',
    'connected',
    `( sport = :${labPorts.echo} or sport = :${protectedPorts.echoNone} )`,
  ]);
  // What a dead process at level none leaves behind is closing, belongs to nobody and ends by the kernel's timeouts.
  const dying = new Set(bed.bereaved.values());
  const ports = [...text.matchAll(/^(\S+).*:(\d+)\s*$/gm)].flatMap(([, state, port]) =>
    state !== 'ESTAB' && dying.has(Number(port)) ? [] : [Number(port)],
  );
  return new Set(ports);
}

async function checkProgress(bed: ChaosBed): Promise<Array<Omit<Violation, 'step'>>> {
  for (let waitedMs = 0; ; waitedMs += 250) {
    const { stalestMs } = bed.fleet.totals;
    if (stalestMs < hangMs) return [];
    if (waitedMs > hangMs)
      return [{ invariant: 'noHang', what: `an answer is ${Math.round(stalestMs)} ms late` }];
    await sleep(250);
  }
}
