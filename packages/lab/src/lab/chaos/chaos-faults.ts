/**
 * What chaos does to a laboratory. Each fault leaves it whole again: what was killed is started, what was cut is healed.
 *
 * No fault takes the only copy of a session at level commit: two endpoints never die together, and each session is on
 * its buddy again before the next one dies. Sessions at level none die with their process, and only then.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { setPartyLink } from '../lab-network.js';
import { signalProcess } from '../process-identity.js';
import { pickOne } from '../../load/seeded-random.js';
import { strike } from '../strike.js';
import type { ChaosBed } from './chaos-bed.js';

/** Kinds of steps. */
export const faultKinds = [
  'move',
  'burst',
  'drain',
  'revert',
  'killDaemon',
  'killDaemonInMove',
  'killTarget',
  'cutEndpoint',
  'cutClient',
  'stallEndpoint',
  'killEndpoint',
  'killBuddy',
  'cutHost',
  'stopEndpoint',
  'killAgent',
] as const;

/** A kind of step. */
export type FaultKind = (typeof faultKinds)[number];

/** How often each kind comes, relative to the others; heavy ones take a second or more. */
export const faultWeights: Readonly<Record<FaultKind, number>> = {
  move: 700,
  burst: 150,
  drain: 20,
  revert: 20,
  killDaemon: 8,
  killDaemonInMove: 8,
  killTarget: 8,
  cutEndpoint: 30,
  cutClient: 30,
  stallEndpoint: 26,
  killEndpoint: 6,
  killBuddy: 5,
  cutHost: 5,
  stopEndpoint: 5,
  killAgent: 5,
};

const burstMoves = 8;
/** Steps at which a move is caught by a kill. */
const catchableSteps = ['prepare', 'hold', 'freeze', 'thaw', 'switch', 'activate', 'release'] as const;
/** Steps before the target has anything of the session but a reservation. */
const earlySteps = ['prepare', 'hold', 'freeze'] as const;

/** Performs one step. */
export const faults: Readonly<Record<FaultKind, (bed: ChaosBed) => Promise<void>>> = {
  move: async (bed) => {
    await moveRandom(bed);
  },
  burst: async (bed) => {
    await Promise.all(Array.from({ length: burstMoves }, () => moveRandom(bed)));
  },
  drain: async (bed) => {
    const name = pickEndpoint(bed);
    await bed.admin.drain(name);
    await bed.admin.undrain(name);
  },
  revert: (bed) => loseTargetInMove(bed, 'SIGCONT'),
  killDaemon: async (bed) => {
    await bed.killDaemon();
    await bed.startDaemon();
  },
  killDaemonInMove: async (bed) => {
    await bed.admin.pause(pickOne(bed.random, catchableSteps) ?? 'freeze');
    for (let i = 0; i < burstMoves; i++) void moveRandom(bed);
    await sleep(20);
    await bed.killDaemon();
    await bed.startDaemon();
  },
  killTarget: (bed) => loseTargetInMove(bed, 'SIGKILL'),
  cutEndpoint: (bed) => cut(bed, pickEndpoint(bed)),
  cutClient: (bed) => cut(bed, 'client'),
  stallEndpoint: async (bed) => {
    void moveRandom(bed);
    await stall(bed, pickEndpoint(bed), 20 + bed.random() * 200);
  },
  killEndpoint: async (bed) => {
    const name = pickEndpoint(bed);
    const strike = async (): Promise<void> => {
      // Some are caught in the middle of a move, here or there.
      for (let i = 0; i < 2; i++) void moveProtected(bed);
      await sleep(bed.random() * 10);
      await bed.killEndpoint(name);
    };
    await bed.withDeath(name, strike, () => bed.startEndpoint(name));
  },
  killBuddy: async (bed) => {
    const id = pickOne(bed.random, bed.protectedIds);
    const name = (await bed.admin.sessions()).find((s) => s.id === id)?.buddy ?? pickEndpoint(bed);
    await bed.withDeath(
      name,
      () => bed.killEndpoint(name),
      () => bed.startEndpoint(name),
    );
  },
  cutHost: async (bed) => {
    const name = pickEndpoint(bed);
    const strikeHost = async (): Promise<void> => {
      bed.lives.noteDeath(name);
      await strike(bed.lab, name, 'host');
    };
    await bed.withDeath(name, strikeHost, async () => setPartyLink(bed.lab.plan, bed.lab.party(name), true));
  },
  stopEndpoint: async (bed) => {
    const name = pickEndpoint(bed);
    const found = bed.lab.findProcess(name);
    const strikeProcess = async (): Promise<void> => {
      bed.lives.noteDeath(name);
      await strike(bed.lab, name, 'stop');
    };
    const goOn = async (): Promise<void> => {
      if (found !== undefined) signalProcess(found, 'SIGCONT');
    };
    await bed.withDeath(name, strikeProcess, goOn);
  },
  killAgent: async (bed) => {
    void moveRandom(bed);
    await bed.restartAgent(pickEndpoint(bed));
  },
};

/** A move of a session that survives whatever happens to either side. */
async function moveProtected(bed: ChaosBed): Promise<void> {
  const id = pickOne(bed.random, bed.protectedIds);
  if (id !== undefined) await bed.move(id);
}

/** A move of a random session to a random other endpoint. */
async function moveRandom(bed: ChaosBed): Promise<void> {
  const id = bed.pickSession();
  const target = bed.random() < 0.5 ? undefined : pickEndpoint(bed);
  if (id === undefined) return;
  await bed.move(id, target);
}

function pickEndpoint(bed: ChaosBed): string {
  return pickOne(bed.random, bed.endpointNames) ?? 'a';
}

/**
 * Empties an endpoint, begins moves to it, and stops its process while they are under way: they must revert. Then it
 * goes on, or is killed and started again.
 */
async function loseTargetInMove(bed: ChaosBed, end: 'SIGCONT' | 'SIGKILL'): Promise<void> {
  const name = pickEndpoint(bed);
  await bed.admin.drain(name);
  await bed.admin.undrain(name);
  await bed.admin.pause(pickOne(bed.random, earlySteps) ?? 'freeze');
  for (let i = 0; i < 4; i++) {
    const id = bed.pickSession();
    if (id !== undefined) void bed.move(id, name);
  }
  await sleep(30);
  const target = bed.lab.findProcess(name);
  if (target === undefined) return;
  signalProcess(target, 'SIGSTOP');
  await bed.admin.resume();
  await sleep(20 + bed.random() * 200);
  if (end === 'SIGCONT') {
    signalProcess(target, 'SIGCONT');
    return;
  }
  await bed.killEndpoint(name);
  await bed.startEndpoint(name);
}

async function cut(bed: ChaosBed, name: string): Promise<void> {
  const party = bed.lab.party(name);
  void moveRandom(bed);
  setPartyLink(bed.lab.plan, party, false);
  try {
    // Well below three heartbeats: a longer cut is a death, and a step of its own.
    await sleep(20 + bed.random() * 250);
  } finally {
    setPartyLink(bed.lab.plan, party, true);
  }
}

/** The process stands still, its kernel does not: sockets go on acknowledging. */
async function stall(bed: ChaosBed, name: string, forMs: number): Promise<void> {
  const found = bed.lab.findProcess(name);
  if (found === undefined) return;
  signalProcess(found, 'SIGSTOP');
  try {
    await sleep(forMs);
  } finally {
    signalProcess(found, 'SIGCONT');
  }
}
