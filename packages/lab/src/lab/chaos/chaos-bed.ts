/** What chaos works on: a laboratory under load whose daemon and endpoints may be killed and come back. */
import { setTimeout as sleep } from 'node:timers/promises';
import { RestitchError, toRestitchError } from '@restitch/core';
import type { SessionAnswer } from '@restitch/wire';
import type { ClientFleet } from '../client-fleet.js';
import type { Lab } from '../lab.js';
import { LabAdmin } from '../lab-admin.js';
import { labPorts, protectedPorts } from '../lab-plan.js';
import type { ChaosLives } from './chaos-lives.js';
import type { ClientSpec } from '../../load/clients/driver-messages.js';
import { matchSessions } from '../move-load.js';
import { awaitReplicated } from '../crash-lives.js';
import { pickOne } from '../../load/seeded-random.js';
import {
  accessPointName,
  agentNameOf,
  awaitHealthy,
  startAccessPoint,
  startAgent,
  startEndpoint,
} from '../start-parties.js';

/** Longest a laboratory may take to come to rest after a step. */
const settleLimitMs = 15_000;

/** Longest a death may take to be noticed and dealt with: a stopped process has ten heartbeats. */
const takeOverLimitMs = 10_000;
const requestsPerSec = 50;

/** A client that is connected now. */
export interface ChaosClient {
  readonly tag: string;
  readonly level: 'none' | 'commit';
  readonly sessionId: string;
  readonly port: number;
}

/** A laboratory with clients, and the connection to its daemon of the moment. */
export class ChaosBed {
  readonly lab: Lab;
  readonly fleet: ClientFleet;
  readonly lives: ChaosLives;
  readonly random: () => number;
  /** What became of endpoints that died. */
  readonly deaths = { deaths: 0, taken: 0, lost: 0 };
  /** Clients at level none whose server process was declared dead: they may be reset, and nobody else. Tags with their ports. */
  readonly bereaved = new Map<string, number>();
  /** Moves by outcome, or by the code with which they were refused. */
  readonly outcomes: Record<string, number> = {};
  #admin: LabAdmin;
  #clients: ChaosClient[] = [];
  #opened = 0;
  #owners: ReadonlyMap<string, string> = new Map();
  #deathsSeen = 0;

  constructor(parts: {
    readonly lab: Lab;
    readonly fleet: ClientFleet;
    readonly lives: ChaosLives;
    readonly admin: LabAdmin;
    readonly random: () => number;
  }) {
    this.lab = parts.lab;
    this.fleet = parts.fleet;
    this.lives = parts.lives;
    this.random = parts.random;
    this.#admin = parts.admin;
  }

  /** Clients whose connection is to stand. */
  get clients(): readonly ChaosClient[] {
    return this.#clients;
  }

  /** Their sessions. */
  get sessionIds(): readonly string[] {
    return this.#clients.map((c) => c.sessionId);
  }

  /** A session that may be moved: of a client, or of a phase client. */
  pickSession(): string | undefined {
    return pickOne(this.random, [...this.sessionIds, ...this.lives.sessionIds]);
  }

  /** Those that survive their server. */
  get protectedIds(): readonly string[] {
    return this.#clients.filter((c) => c.level === 'commit').map((c) => c.sessionId);
  }

  /** Connects clients of a level. */
  async open(level: ChaosClient['level'], count: number): Promise<void> {
    if (count === 0) return;
    const specs: ClientSpec[] = Array.from({ length: count }, () => ({
      tag: `${level === 'none' ? 'n' : 'c'}${this.#opened++}`,
      kind: 'line',
      address: this.lab.plan.vipIpv4,
      port: level === 'none' ? protectedPorts.echoNone : labPorts.echo,
      recordBytes: 64,
      recordsPerSec: requestsPerSec,
    }));
    const sessions = await matchSessions(this.#admin, await this.fleet.open(specs));
    for (const [tag, { id, flow }] of sessions) {
      this.#clients.push({ tag, level, sessionId: id, port: flow.client.port });
    }
  }

  get admin(): LabAdmin {
    return this.#admin;
  }

  get endpointNames(): readonly string[] {
    return this.lab.state.endpoints;
  }

  /** Moves a session and counts what came of it; never rejects, because a move that fails is an outcome. */
  async move(id: string, target?: string): Promise<void> {
    const outcome = await this.#admin.migrate(id, target).then(
      (record) => record.outcome,
      (error: unknown) => toRestitchError(error).code,
    );
    this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1;
  }

  /** Kills the daemon as `kill -9` does. */
  async killDaemon(): Promise<void> {
    this.#admin.close();
    await this.lab.stop(accessPointName, 'SIGKILL');
  }

  /** Starts the daemon again and waits until all endpoints are back. */
  async startDaemon(): Promise<void> {
    await startAccessPoint(this.lab);
    this.#admin = await LabAdmin.open(this.lab.plan);
    await awaitHealthy(this.lab, this.endpointNames);
  }

  async killEndpoint(name: string): Promise<void> {
    this.lives.noteDeath(name);
    await this.lab.stop(name, 'SIGKILL');
  }

  async startEndpoint(name: string): Promise<void> {
    await startEndpoint(this.lab, this.lab.party(name), { isProtected: true });
    await awaitHealthy(this.lab, this.endpointNames);
  }

  async restartAgent(name: string): Promise<void> {
    const party = this.lab.party(name);
    await this.lab.stop(agentNameOf(party), 'SIGKILL');
    await startAgent(this.lab, party);
  }

  /**
   * Waits until each session at level commit is on its buddy: the death of two endpoints one after the other is to be
   * survived, of owner and buddy together it cannot be. Throws `deadline_exceeded`.
   */
  async awaitReplicas(): Promise<void> {
    const stepMs = 20;
    let missing: string[] = [];
    let sessions = new Map<string, SessionAnswer>();
    for (let waitedMs = 0; waitedMs < settleLimitMs; waitedMs += stepMs) {
      sessions = new Map((await this.#admin.sessions()).map((s) => [s.id, s]));
      const isReady = (id: string): boolean => {
        const session = sessions.get(id);
        return (session?.buddy ?? null) !== null && session?.cheapTarget === session?.buddy;
      };
      missing = this.protectedIds.filter((id) => !isReady(id));
      if (missing.length === 0) return;
      await sleep(stepMs);
    }
    const what = missing.map((id) => JSON.stringify(sessions.get(id) ?? id)).join('; ');
    throw new RestitchError('deadline_exceeded', `no replica after ${settleLimitMs} ms: ${what}`);
  }

  /**
   * An endpoint dies by `strike`: waits until its sessions were taken over, lets `recover` bring it back, and replaces
   * the clients whose level promised them nothing.
   */
  async withDeath(name: string, strike: () => Promise<void>, recover: () => Promise<void>): Promise<void> {
    await this.settle();
    await this.awaitReplicas();
    await awaitReplicated(this.#admin);
    const before = (await this.#admin.takeOvers()).length;
    const there = new Set((await this.#admin.sessions()).filter((s) => s.endpoint === name).map((s) => s.id));
    const bereaved = this.#clients.filter((c) => c.level === 'none' && there.has(c.sessionId));
    for (const { tag, port } of bereaved) this.bereaved.set(tag, port);
    this.#clients = this.#clients.filter((c) => !bereaved.includes(c));
    try {
      await this.lives.aim(name, this.random() < 0.5);
      await strike();
      await this.#awaitTakeOver(name, before);
    } finally {
      await recover();
    }
    await awaitHealthy(this.lab, this.endpointNames);
    await this.open('none', bereaved.length);
  }

  /** Remembers where sessions are, for `noteSilentDeaths`. */
  async noteOwners(): Promise<void> {
    const sessions = await this.#admin.sessions();
    this.#owners = new Map(sessions.map((s) => [s.id, s.endpoint]));
    this.lives.noteOwners(sessions);
  }

  /**
   * On a machine so busy that an endpoint gets no turn for seconds it is declared dead without a fault of ours. That is
   * as it should be, and its sessions at level none end with it.
   */
  async noteSilentDeaths(): Promise<void> {
    const all = await this.#admin.takeOvers();
    if (all.length < this.#deathsSeen) this.#deathsSeen = 0;
    const silent = all.slice(this.#deathsSeen).filter((r) => r.reason !== 'process');
    this.#deathsSeen = all.length;
    for (const { endpoint } of silent) this.lives.noteSilentDeath(endpoint);
    const isBereaved = (c: ChaosClient): boolean =>
      c.level === 'none' && silent.some((r) => r.endpoint === this.#owners.get(c.sessionId));
    const bereaved = this.#clients.filter(isBereaved);
    for (const { tag, port } of bereaved) this.bereaved.set(tag, port);
    this.#clients = this.#clients.filter((c) => !isBereaved(c));
    await this.open('none', bereaved.length);
  }

  async #awaitTakeOver(name: string, before: number): Promise<void> {
    const stepMs = 20;
    for (let waitedMs = 0; waitedMs < takeOverLimitMs; waitedMs += stepMs) {
      const news = (await this.#admin.takeOvers()).slice(before);
      const record = news.find((r) => r.endpoint === name);
      if (record !== undefined) {
        this.deaths.deaths++;
        this.deaths.taken += record.taken;
        this.deaths.lost += record.lost;
        return;
      }
      await sleep(stepMs);
    }
    throw new RestitchError('deadline_exceeded', `${name} is not declared dead after ${takeOverLimitMs} ms`);
  }

  /** Resolves when no move is under way. Throws `deadline_exceeded`. */
  async settle(): Promise<void> {
    const stepMs = 20;
    for (let waitedMs = 0; waitedMs < settleLimitMs; waitedMs += stepMs) {
      const { moves } = await this.#admin.status();
      if (moves.running + moves.waiting === 0) return;
      await sleep(stepMs);
    }
    throw new RestitchError('deadline_exceeded', `moves are still under way after ${settleLimitMs} ms`);
  }

  close(): void {
    this.#admin.close();
  }
}
