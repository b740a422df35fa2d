/** What must hold whenever the laboratory is at rest: the closed list that chaos checks. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { SessionAnswer } from '@restitch/wire';
import { labPorts, protectedPorts } from '../lab-plan.js';
import { isTailPort } from '../life-bed.js';
import { runTool } from '../run-tool.js';
import type { ChaosBed } from './chaos-bed.js';

/** Every invariant, with what it says. */
export const invariants = {
  oneOwner:
    'each session has one owner, its record names that owner with its epoch, and that endpoint alone has the socket',
  byteExact: 'no client has seen a lost, doubled or wrong byte',
  noReset:
    'no client connection was reset or closed, but those at level none whose server process was declared dead',
  noEarlyEof: 'no client has seen a clean end before what was announced had come',
  noGhost:
    'when all clients have left, the access point lists no session and no endpoint has a socket of one',
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
/** Clients have closed in order; what one side has not acknowledged is repeated within that. */
const ghostGraceMs = 10_000;

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
  found.push(...(await bed.lives.findSilent()).map((what) => ({ invariant: 'noHang' as const, what })));
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
  let lasting: Array<Omit<Violation, 'step'>> | undefined;
  for (let waitedMs = 0; ; waitedMs += 100) {
    const found = await compareSockets(bed);
    // Phase clients come and go: only what is wrong all the time is wrong.
    lasting = lasting?.filter((before) => found.some((v) => v.what === before.what)) ?? found;
    if (lasting.length === 0 || waitedMs >= socketGraceMs) return lasting;
    await sleep(100);
  }
}

async function compareSockets(bed: ChaosBed): Promise<Array<Omit<Violation, 'step'>>> {
  const sessions = await bed.admin.sessions();
  const isTail = (s: SessionAnswer): boolean => isTailPort(s.flow.vip.port);
  return bed.endpointNames.flatMap((name) => {
    const here = sessions.filter((s) => s.endpoint === name);
    const portsOf = (some: readonly SessionAnswer[]): Set<number> =>
      new Set(some.map((s) => s.flow.client.port));
    const tails = portsOf(here.filter(isTail));
    const finishing = bed.lives.finishingPorts(name);
    const served = [...bed.lives.socketPorts(name)].filter((port) => tails.has(port) || !finishing.has(port));
    return [
      ...comparePorts(name, portsOf(here.filter((s) => !isTail(s))), listClientPorts(bed, name)),
      ...comparePorts(`${name}, phase clients,`, tails, new Set(served)),
    ];
  });
}

function comparePorts(
  who: string,
  expected: ReadonlySet<number>,
  actual: ReadonlySet<number>,
): Array<Omit<Violation, 'step'>> {
  const missing = [...expected].filter((port) => !actual.has(port));
  const orphans = [...actual].filter((port) => !expected.has(port));
  return [
    ...missing.map((port) => ({
      invariant: 'oneOwner' as const,
      what: `${who} has no socket for client port ${port}`,
    })),
    ...orphans.map((port) => ({
      invariant: 'noOrphan' as const,
      what: `${who} has a socket for client port ${port}`,
    })),
  ];
}

/** Nothing may be left of sessions whose clients have all gone. */
export async function findGhosts(bed: ChaosBed): Promise<string[]> {
  for (let waitedMs = 0; ; waitedMs += 250) {
    const sessions = await bed.admin.sessions();
    const sockets = bed.endpointNames.flatMap((name) =>
      [...bed.lives.socketPorts(name)].map((port) => `${name} has a socket for client port ${port}`),
    );
    if (sessions.length + sockets.length === 0) return [];
    if (waitedMs >= ghostGraceMs)
      return [
        ...sessions.map((s) => `session ${s.id} at ${s.endpoint}: ${s.doubt ?? 'is listed'}`),
        ...sockets,
      ];
    await sleep(250);
  }
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
