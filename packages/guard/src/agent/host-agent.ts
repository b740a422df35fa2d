/**
 * The agent of an endpoint host: makes the guard, gives each guarded process its lease, and sees it die.
 *
 * A process's death shows at once as the end of its unix socket; the pidfd then tells death from a closed connection.
 * The agent fences (ends the lease in the map) before it tells anybody, so its word is also the end of all waiting.
 * It holds no state that matters: programs, maps and leases stay when it dies.
 */
import { chmodSync, chownSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { type Channel, openChannel, type TlsFiles } from '@restitch/channel';
import {
  type Clock,
  type Counters,
  createCounters,
  formatFlow,
  type Logger,
  RestitchError,
  silentLogger,
  systemClock,
} from '@restitch/core';
import { protocolVersion } from '@restitch/core/internal';
import type { Fd } from '@restitch/sys';
import { hasProcessEnded, openPidfd, peerCredentials } from '@restitch/sys/internal';
import { createGuardControl, type GuardControl } from '../kernel/guard-control.js';
import { attachGuard, ensureGuardPins, type GuardPins } from '../kernel/guard-pins.js';
import { maxLeases } from '../kernel/layout.js';
import { destroyOrphans } from './destroy-orphans.js';
import { createLineReader, parseFromApplication, type ToApplication } from './agent-protocol.js';

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
/** A process's sockets close a moment before its pidfd says that it has ended. */
const deathGraceMs = 100;
const firstRetryMs = 50;
const longestRetryMs = 1000;
const heartbeatMs = 200;

interface Guarded {
  readonly name: string;
  readonly instance: string;
  readonly lease: number;
  readonly pidfd: Fd;
  readonly pid: number;
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
  #server: Server | undefined;
  #channel: Channel | undefined;
  #isClosed = false;
  #cancelLook: () => void = () => undefined;
  #cancelBeat: () => void = () => undefined;
  /** Deaths the access point has not been told of yet. */
  #untold: string[] = [];

  private constructor(options: HostAgentOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#counters = options.counters ?? createCounters();
    const { pinDirectory, groupId } = options;
    this.#pins = ensureGuardPins({ pinDirectory, ...(groupId === undefined ? {} : { groupId }) });
    this.#guard = createGuardControl(this.#pins);
  }

  /** Makes or adopts the guard, attaches it, listens. Throws `bpf_rejected`, `unsupported_host` or the system's error. */
  static async open(options: HostAgentOptions): Promise<HostAgent> {
    const agent = new HostAgent(options);
    for (const name of options.interfaces) attachGuard(agent.#pins, name);
    await agent.#listen();
    agent.#look();
    agent.#dial(firstRetryMs);
    return agent;
  }

  get guard(): GuardControl {
    return this.#guard;
  }

  /** Flows whose gate has been shut for too long at the last look. */
  get stuckFlows(): readonly string[] {
    return [...this.#stuck];
  }

  /** Lets go; programs, maps, leases and filters stay. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelLook();
    this.#cancelBeat();
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
    const read = createLineReader((line) => {
      guarded = this.#join(socket, line);
      answer({ t: 'joined', lease: guarded.lease, pinDirectory: this.#options.pinDirectory });
    });
    socket.on('data', (chunk) => {
      try {
        read(chunk);
      } catch (error) {
        this.#counters.add('agent_refused_total');
        answer({ t: 'refused', message: (error as Error).message });
        socket.end();
      }
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (guarded !== undefined && !this.#isClosed) this.#left(guarded, this.#clock.monotonicMs());
    });
  }

  #join(socket: Socket, line: string): Guarded {
    const { name, instance } = parseFromApplication(line);
    const fd = (socket as unknown as { readonly _handle?: { readonly fd: number } })._handle?.fd ?? -1;
    const { pid, uid } = peerCredentials(fd);
    const guarded = { name, instance, pid, lease: this.#freeLease(), pidfd: openPidfd(pid) };
    this.#guarded.set(guarded.lease, guarded);
    this.#guard.setLease(guarded.lease, 0n);
    this.#counters.add('agent_joined_total');
    this.#logger.info({ name, instance, pid, uid, lease: guarded.lease }, 'process is guarded');
    this.#sweepOrphans();
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

  #left(guarded: Guarded, sinceMs: number): void {
    if (this.#isClosed) return;
    if (hasProcessEnded(guarded.pidfd)) {
      this.#fence(guarded);
      return;
    }
    if (this.#clock.monotonicMs() - sinceMs > deathGraceMs) {
      // It lives and has only let go of the agent: its lease goes on, but its death will be noticed by silence.
      this.#logger.warn({ name: guarded.name, pid: guarded.pid }, 'process has left the agent and lives on');
      return;
    }
    this.#clock.after(1, () => this.#left(guarded, sinceMs));
  }

  #fence(guarded: Guarded): void {
    this.#guard.setLease(guarded.lease, 0n);
    guarded.pidfd.close();
    this.#guarded.delete(guarded.lease);
    this.#counters.add('agent_deaths_total');
    this.#logger.warn({ name: guarded.name, pid: guarded.pid }, 'process has ended, its flows are fenced');
    this.#untold.push(guarded.instance);
    this.#tellDeaths();
    this.#sweepOrphans(guarded.lease);
  }

  /**
   * Flows whose process is gone: `lease` was its, or its death was nobody's to see because the agent was dead itself.
   * The latter may also be a process that lives without this agent, but then it holds its sockets and renews its lease.
   */
  #sweepOrphans(lease?: number): void {
    const nowNs = this.#clock.monotonicNs();
    const isGone = (of: number): boolean => {
      if (lease !== undefined) return of === lease;
      return !this.#guarded.has(of) && this.#guard.leaseEndsAtNs(of) < nowNs;
    };
    const flows = this.#guard.list().filter((flow) => isGone(flow.lease));
    try {
      this.#counters.add('agent_orphans_total', destroyOrphans(flows.map((flow) => flow.flow)));
      if (lease === undefined) return;
      for (const { flow, epoch } of flows) this.#guard.remove(flow, epoch);
    } catch (error) {
      this.#logger.warn({ lease }, `orphans stay: ${(error as Error).message}`);
    }
  }

  #tellDeaths(): void {
    const channel = this.#channel;
    if (channel === undefined) return;
    for (const instance of this.#untold.splice(0))
      channel.send({ t: 'process-ended', instance, isFenced: true });
    // Clients wait for it: before anything is swept.
    channel.flush();
  }

  #dial(retryMs: number): void {
    const { accessPoint, tls, name } = this.#options;
    if (accessPoint === undefined || tls === undefined || this.#isClosed) return;
    const again = (): void => {
      this.#channel = undefined;
      this.#cancelBeat();
      if (!this.#isClosed)
        this.#clock.after(retryMs, () => this.#dial(Math.min(longestRetryMs, retryMs * 2)));
    };
    openChannel({ ...accessPoint, tls, expect: { role: 'access-point' }, maxMessageBytes: 65_536 }).then(
      (channel) => {
        if (this.#isClosed) return channel.close();
        this.#channel = channel;
        channel.onClose(again);
        channel.onMessage(() => undefined);
        channel.send({ t: 'agent-hello', protocol: protocolVersion, name });
        this.#tellDeaths();
        this.#beat(channel);
      },
      again,
    );
  }

  #beat(channel: Channel): void {
    if (this.#channel !== channel) return;
    channel.send({ t: 'agent-heartbeat' });
    this.#cancelBeat = this.#clock.after(heartbeatMs, () => this.#beat(channel));
  }

  /** An alarm that names flow and cause, once when it begins and once when it ends. */
  #look(): void {
    const nowNs = this.#clock.monotonicNs();
    const stuck = new Map<string, string>();
    for (const flow of this.#guard.list()) {
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
    this.#cancelLook = this.#clock.after(lookMs, () => this.#look());
  }
}
