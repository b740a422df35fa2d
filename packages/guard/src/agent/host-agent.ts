/**
 * The agent of an endpoint host: makes the guard, gives each guarded process its lease, and sees it die.
 *
 * A process's death shows at once as the end of its unix socket; the pidfd then tells death from a closed connection.
 * The agent fences (ends the lease in the map) before it tells anybody, so its word is also the end of all waiting.
 * A process that said it would leave is fenced like any other when it ends: its successors need that; only the word differs.
 * What becomes of its connections is in departed-flows.ts. The agent holds no state that matters: programs, maps and
 * leases stay when it dies.
 */
import { chmodSync, chownSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { type Channel, openChannel, Redial, type TlsFiles } from '@restitch/channel';
import {
  type Clock,
  type Counters,
  createCounters,
  formatFlow,
  type Logger,
  RestitchError,
  silentLogger,
  systemClock,
  toRestitchError,
} from '@restitch/core';
import {
  assertVersion,
  protocolVersion,
  createLineReader,
  maxAgentLineBytes,
  type FromApplication,
  parseFromApplication,
  type ToApplication,
} from '@restitch/wire/internal';
import type { Fd } from '@restitch/sys';
import { hasProcessEnded, openPidfd, peerCredentials } from '@restitch/sys/internal';
import { createGuardControl, type GuardControl } from '../kernel/guard-control.js';
import { attachGuard, ensureGuardPins, type GuardPins } from '../kernel/guard-pins.js';
import { type GuardedFlow, guardFlags, maxLeases } from '../kernel/layout.js';
import { DepartedFlows, departureOf, type FinishedFlow } from './departed-flows.js';

/** What an agent is started with. */
export interface HostAgentOptions {
  /** Name in the certificate: the endpoint's. */
  readonly name: string;
  readonly socketPath: string;
  readonly pinDirectory: string;
  /** Interfaces guarded flows leave by, in the current network namespace. */
  readonly interfaces: readonly string[];
  /** Group whose members may use socket and pins. */
  readonly groupId?: number;
  /** Where deaths are told; without it they are only fenced. */
  readonly accessPoint?: { readonly host: string; readonly port: number };
  readonly tls?: TlsFiles;
  readonly clock?: Clock;
  readonly logger?: Logger;
  readonly counters?: Counters;
}

/** A gate that is shut for this long means that a buddy, the network or the application hangs. */
const stuckGateMs = 3000;
const lookMs = 1000;
/** How often the connections are looked at that the kernel has still to finish. */
const finishMs = 500;
/** How often a process is looked at that has let go of the agent because it is leaving: successors wait for its end. */
const leavingLookMs = 20;
/** Bound of one message, as its schema says. */
const finishedPerMessage = 4096;
/** What was told this long before a connection broke may not have arrived: it is told again on the next one. */
const doubtMs = 10_000;
/** A process's sockets close a moment before its pidfd says that it has ended. */
const deathGraceMs = 100;
const redialPauses = { firstMs: 50, longestMs: 1000 };
const heartbeatMs = 200;

interface Guarded {
  readonly name: string;
  readonly instance: string;
  readonly lease: number;
  readonly pidfd: Fd;
  readonly pid: number;
  /** It said that its end will be no death. */
  isLeaving: boolean;
  /** It has closed its connection and lives on. */
  isAlone: boolean;
}

/** What is told of a process that has ended. */
interface ProcessEnd extends Pick<Guarded, 'instance' | 'isLeaving'> {
  readonly finishing: FinishedFlow[] | undefined;
}

/** A running agent. */
export class HostAgent {
  readonly #options: HostAgentOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #counters: Counters;
  readonly #pins: GuardPins;
  readonly #guard: GuardControl;
  readonly #guarded = new Map<number, Guarded>();
  readonly #stuck = new Set<string>();
  readonly #redial = new Redial(redialPauses);
  #server: Server | undefined;
  #channel: Channel | undefined;
  #isClosed = false;
  #cancelLook: () => void = () => undefined;
  #cancelBeat: () => void = () => undefined;
  #cancelFinish: () => void = () => undefined;
  readonly #departed: DepartedFlows;
  /** Ends of processes that the access point has not been told of yet, and those that it was told of lately. */
  #untold: ProcessEnd[] = [];
  #toldEnds: Array<{ readonly end: ProcessEnd; readonly atMs: number }> = [];
  /** Finished connections told lately. */
  #told: Array<{ readonly flows: readonly FinishedFlow[]; readonly atMs: number }> = [];

  private constructor(options: HostAgentOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#counters = options.counters ?? createCounters();
    const { pinDirectory, groupId } = options;
    this.#pins = ensureGuardPins({ pinDirectory, ...(groupId === undefined ? {} : { groupId }) });
    this.#guard = createGuardControl(this.#pins);
    this.#departed = new DepartedFlows({
      guard: this.#guard,
      isGone: (lease) => this.#isGone(lease),
      nowMs: () => this.#clock.monotonicMs(),
      tell: (flows) => this.#tellFinished(flows),
      onDestroyed: (count) => this.#counters.add('agent_orphans_total', count),
      logger: this.#logger,
    });
  }

  /** Makes or adopts the guard, attaches it, listens. Throws `bpf_rejected`, `unsupported_host` or the system's error. */
  static async open(options: HostAgentOptions): Promise<HostAgent> {
    const agent = new HostAgent(options);
    for (const name of options.interfaces) attachGuard(agent.#pins, name);
    await agent.#listen();
    agent.#look();
    agent.#finish();
    agent.#dial();
    return agent;
  }

  get guard(): GuardControl {
    return this.#guard;
  }

  /** Lets go; programs, maps, leases and filters stay. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelLook();
    this.#cancelBeat();
    this.#cancelFinish();
    this.#channel?.close();
    const server = this.#server;
    if (server !== undefined) await new Promise<void>((resolve) => server.close(() => resolve()));
    for (const { pidfd } of this.#guarded.values()) pidfd.close();
    this.#pins.close();
  }

  async #listen(): Promise<void> {
    const { socketPath, groupId } = this.#options;
    rmSync(socketPath, { force: true });
    const server = createServer((socket) => this.#accept(socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(socketPath, resolve);
    });
    chmodSync(socketPath, 0o660);
    if (groupId !== undefined) chownSync(socketPath, -1, groupId);
    this.#server = server;
    server.unref();
  }

  #accept(socket: Socket): void {
    let guarded: Guarded | undefined;
    const answer = (message: ToApplication): void => void socket.write(`${JSON.stringify(message)}\n`);
    const read = createLineReader('agent', maxAgentLineBytes, (line) => {
      const message = parseFromApplication(line);
      if (message.t === 'leaving' && guarded !== undefined) {
        guarded.isLeaving = message.on;
        return;
      }
      if (message.t !== 'join' || guarded !== undefined)
        throw new RestitchError('message_invalid', `agent: ${message.t} out of turn`);
      guarded = this.#join(socket, message);
      const { pinDirectory } = this.#options;
      answer({ t: 'joined', protocol: protocolVersion, lease: guarded.lease, pinDirectory });
    });
    socket.on('data', (chunk) => {
      try {
        read(chunk);
      } catch (error) {
        this.#counters.add('agent_refused_total');
        const { code, message } = toRestitchError(error);
        answer({ t: 'refused', code, message });
        socket.end();
      }
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (guarded !== undefined && !this.#isClosed) this.#left(guarded, this.#clock.monotonicMs());
    });
  }

  #join(socket: Socket, { name, instance }: FromApplication & { readonly t: 'join' }): Guarded {
    const fd = (socket as unknown as { readonly _handle?: { readonly fd: number } })._handle?.fd ?? -1;
    const { pid, uid } = peerCredentials(fd);
    const lease = this.#freeLease();
    const pidfd = openPidfd(pid);
    const guarded: Guarded = { name, instance, pid, lease, pidfd, isLeaving: false, isAlone: false };
    this.#guarded.set(guarded.lease, guarded);
    this.#guard.setLease(guarded.lease, 0n);
    this.#counters.add('agent_joined_total');
    this.#logger.info({ name, instance, pid, uid, lease: guarded.lease }, 'process is guarded');
    this.#departed.look();
    return guarded;
  }

  /** Numbers of an agent of the past may still be in use by flows: those are not given out again while they are. */
  #freeLease(): number {
    const used = new Set(this.#guard.list().map((flow) => flow.lease));
    for (let lease = 1; lease < maxLeases; lease++) {
      if (!this.#guarded.has(lease) && !used.has(lease)) return lease;
    }
    throw new RestitchError('no_capacity', `agent: all ${maxLeases - 1} leases are taken`);
  }

  /** Its connection is closed: it has ended, is about to, or lives on without the agent and is looked at from time to time. */
  #left(guarded: Guarded, sinceMs: number): void {
    if (this.#isClosed) return;
    if (hasProcessEnded(guarded.pidfd)) {
      this.#fence(guarded);
      return;
    }
    const { name, pid, isLeaving } = guarded;
    const isEarly = this.#clock.monotonicMs() - sinceMs <= deathGraceMs;
    if (!isEarly && !guarded.isAlone) {
      guarded.isAlone = true;
      if (!isLeaving) this.#logger.warn({ name, pid }, 'process has left the agent and lives on');
    }
    const nextMs = isEarly ? 1 : isLeaving ? leavingLookMs : lookMs;
    this.#clock.after(nextMs, () => this.#left(guarded, sinceMs));
  }

  #fence(guarded: Guarded): void {
    const { name, pid, instance, isLeaving, lease } = guarded;
    this.#guard.setLease(lease, 0n);
    guarded.pidfd.close();
    this.#guarded.delete(lease);
    this.#counters.add(isLeaving ? 'agent_leaves_total' : 'agent_deaths_total');
    if (isLeaving) this.#logger.info({ name, pid }, 'process has left, its flows are fenced');
    else this.#logger.warn({ name, pid }, 'process has ended, its flows are fenced');
    this.#untold.push({ instance, isLeaving, finishing: this.#finishingOf(lease) });
    this.#tellEnds();
    this.#finish();
  }

  /** What the kernel goes on with alone; undefined if a message does not hold it: then what the endpoint had said counts. */
  #finishingOf(lease: number): FinishedFlow[] | undefined {
    const own = this.#guard
      .list()
      .filter((entry) => entry.lease === lease && departureOf(entry) === 'finish');
    return own.length > finishedPerMessage ? undefined : own.map(({ flow, epoch }) => ({ flow, epoch }));
  }

  /**
   * Nobody who could renew this lease is known. It may be that of a process that lives without this agent, whose lease ran
   * out with the access point: its sockets have a holder, which departed-flows.ts respects.
   */
  #isGone(lease: number): boolean {
    if (lease === 0 || this.#guarded.has(lease)) return false;
    return this.#guard.leaseEndsAtNs(lease) < this.#clock.monotonicNs();
  }

  /** Looks at the flows of ended processes, again soon while the kernel has something to finish. */
  #finish(entries?: readonly GuardedFlow[]): void {
    this.#cancelFinish();
    this.#cancelFinish = () => undefined;
    if (this.#isClosed) return;
    this.#departed.look(entries);
    if (this.#departed.unfinished > 0) this.#cancelFinish = this.#clock.after(finishMs, () => this.#finish());
  }

  #tellEnds(): void {
    const channel = this.#channel;
    if (channel === undefined) return;
    const atMs = this.#clock.monotonicMs();
    this.#toldEnds = this.#toldEnds.filter((told) => atMs - told.atMs < doubtMs);
    for (const end of this.#untold.splice(0)) {
      this.#toldEnds.push({ end, atMs });
      const { instance, isLeaving, finishing } = end;
      const more = {
        ...(isLeaving ? { isLeaving } : {}),
        ...(finishing === undefined ? {} : { finishing }),
        // Another one may have taken its place already, and be on its way to the access point.
        ...(this.#guarded.size === 0 ? { isLast: true } : {}),
      };
      channel.send({ t: 'process-ended', instance, isFenced: true, ...more });
    }
    // Clients wait for it: before anything is swept.
    channel.flush();
  }

  /** The daemon that was told of them may be dead: the next one waits for their processes until it hears of it. */
  #doubtEnds(): void {
    const sinceMs = this.#clock.monotonicMs() - doubtMs;
    const doubtful = this.#toldEnds.splice(0).filter(({ atMs }) => atMs > sinceMs);
    this.#untold.unshift(...doubtful.map(({ end }) => end));
  }

  #tellFinished(flows: readonly FinishedFlow[]): boolean {
    const channel = this.#channel;
    const isAlone = this.#options.accessPoint === undefined;
    if (channel === undefined && !isAlone) return false;
    this.#counters.add('agent_finished_total', flows.length);
    if (channel === undefined) return true;
    const atMs = this.#clock.monotonicMs();
    this.#told = this.#told.filter((told) => atMs - told.atMs < doubtMs);
    this.#told.push({ flows, atMs });
    sendFinished(channel, flows);
    return true;
  }

  #tellAgain(channel: Channel): void {
    const nowMs = this.#clock.monotonicMs();
    for (const { flows, atMs } of this.#told) if (nowMs - atMs < doubtMs) sendFinished(channel, flows);
  }

  #dial(): void {
    const { accessPoint, tls, name } = this.#options;
    if (accessPoint === undefined || tls === undefined || this.#isClosed) return;
    const again = (reason: unknown): void => {
      this.#channel = undefined;
      this.#cancelBeat();
      if (!this.#isClosed) this.#clock.after(this.#redial.pauseMs(reason), () => this.#dial());
    };
    openChannel({ ...accessPoint, tls, expect: { role: 'access-point' }, maxMessageBytes: 65_536 }).then(
      (channel) => {
        if (this.#isClosed) return channel.close();
        this.#channel = channel;
        this.#doubtEnds();
        channel.onClose(again);
        let isGreeted = false;
        // It has nothing to say to an agent, except that it is of another version.
        channel.onMessage((raw) => {
          if (!isGreeted) assertVersion(raw, channel.peer.name);
          isGreeted = true;
        });
        channel.send({ t: 'agent-hello', protocol: protocolVersion, name });
        this.#tellEnds();
        this.#tellAgain(channel);
        this.#finish();
        this.#beat(channel);
      },
      again,
    );
  }

  #beat(channel: Channel): void {
    if (this.#channel !== channel) return;
    channel.send({ t: 'agent-heartbeat' });
    this.#cancelBeat = this.#clock.after(heartbeatMs, () => {
      // Nobody welcomes an agent: one that is not wanted is cut off before this.
      this.#redial.reached();
      this.#beat(channel);
    });
  }

  /** An alarm that names flow and cause, once when it begins and once when it ends. */
  #look(): void {
    const nowNs = this.#clock.monotonicNs();
    const stuck = new Map<string, string>();
    const entries = this.#guard.list();
    for (const flow of entries) {
      // What its application broke off is not acknowledged any more.
      if ((flow.flags & guardFlags.mayReset) !== 0) continue;
      if (flow.withheldSinceNs === 0n || nowNs - flow.withheldSinceNs < BigInt(stuckGateMs) * 1_000_000n)
        continue;
      const endsAtNs = this.#guard.leaseEndsAtNs(flow.lease);
      if (endsAtNs === 0n) continue;
      const isFenced = endsAtNs < nowNs;
      const cause = isFenced ? 'its lease has ended' : 'nothing has been committed since';
      stuck.set(formatFlow(flow.flow), cause);
    }
    for (const [flow, cause] of stuck) {
      if (this.#stuck.has(flow)) continue;
      this.#counters.add('agent_stuck_gates_total');
      this.#logger.warn({ flow, cause, stuckGateMs }, 'a gate is stuck');
    }
    this.#stuck.clear();
    for (const flow of stuck.keys()) this.#stuck.add(flow);
    // Also what nobody saw end: the agent was away, or the process lived without it.
    if (entries.some(({ lease }) => this.#isGone(lease))) this.#finish(entries);
    this.#cancelLook = this.#clock.after(lookMs, () => this.#look());
  }
}

function sendFinished(channel: Channel, flows: readonly FinishedFlow[]): void {
  for (let i = 0; i < flows.length; i += finishedPerMessage) {
    channel.send({ t: 'finished', flows: flows.slice(i, i + finishedPerMessage) });
  }
}
