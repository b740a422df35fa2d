/**
 * The past of clients, by prefix, across restarts: how long their sessions live and what they ask for by hour.
 *
 * It listens to the same inputs as the engine and gives a new engine what it knows. Saving goes in slices and beside the
 * event loop, because moves wait behind it; a file that cannot be read costs the past, never the start.
 */
import { mkdirSync, readFileSync, renameSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { ClientHistory, type EngineInput, clientPrefix } from '@restitch/analytics';
import { RestitchError } from '@restitch/core';
import type { Clock, Counters, Logger } from '@restitch/core';
import { overlaps, parseCidr } from './cidr.js';
import { checksumOf, decodeClientFile, encodeHeader, encodeRecord } from './client-file.js';
import type { AnalyticsSink } from './sink.js';

/** What the store works with. */
export interface ClientStoreDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly directory: string;
  readonly retentionMs: () => number;
  readonly maxPrefixes: number;
  /** Erasures, for the engine. */
  readonly sink: AnalyticsSink;
  /** Something an operator wants to know. */
  readonly onEvent: (name: string, text: string) => void;
}

const saveEveryMs = 60_000;
/** Records encoded in one turn of the event loop: less than a millisecond. */
const recordsPerTurn = 250;
/** The wall clock may differ from the monotonic one by this much between two saves; more is a jump, not time. */
const jumpMs = 3_600_000;
/** Rows of a session without a `session` input before it (an engine without a teller) are not kept. */
const maxOpenSessions = 2_000_000;
const msPerHour = 3_600_000;

interface OpenSession {
  readonly prefix: string;
  readonly openedAtMs: number;
}

/** See the head of the file. */
export class ClientStore implements AnalyticsSink {
  readonly #deps: ClientStoreDeps;
  readonly #path: string;
  #history: ClientHistory;
  readonly #seen = new Map<string, number>();
  readonly #open = new Map<string, OpenSession>();
  #isChanged = false;
  #saving: Promise<void> | undefined;
  #savedAt: { readonly wallMs: number; readonly monotonicMs: number };
  #cancel: (() => void) | undefined;

  constructor(deps: ClientStoreDeps) {
    this.#deps = deps;
    this.#path = join(deps.directory, 'clients.bin');
    this.#history = new ClientHistory(deps.maxPrefixes);
    this.#savedAt = this.#now();
  }

  /** Reads the file and begins to save once a minute. */
  start(): void {
    mkdirSync(this.#deps.directory, { recursive: true, mode: 0o700 });
    this.#load();
    this.#saveLater();
  }

  /** Saves what has changed, after a save that is under way: that one is older and must not come last. */
  async close(): Promise<void> {
    if (this.#cancel === undefined) return;
    this.#cancel();
    this.#cancel = undefined;
    await this.#saving?.catch(() => {});
    if (this.#isChanged) await this.#saveOrWarn();
  }

  /** Prefixes remembered. */
  get size(): number {
    return this.#history.size;
  }

  push(input: EngineInput): void {
    if (input.kind === 'session') this.#hear(input);
    else if (input.kind === 'sessions') this.#learnDemand(input);
  }

  /** What a new engine is told. */
  inputs(): EngineInput[] {
    if (this.#history.size === 0) return [];
    return [{ kind: 'history', atMs: this.#deps.clock.monotonicMs(), stored: this.#history.store() }];
  }

  /**
   * Forgets everything about the prefixes in a block (`10.1.0.0/16`), or about the one an address is in. Resolves with
   * their number when they are gone from the disk, too. Throws `usage`.
   */
  async forget(text: string): Promise<number> {
    const block = parseCidr(text);
    if (block === undefined)
      throw new RestitchError('usage', `${text.slice(0, 60)} is no address and no CIDR block`);
    const gone = [...this.#seen.keys()].filter((prefix) => {
      const own = parseCidr(prefix);
      return own !== undefined && overlaps(own, block);
    });
    for (const prefix of gone) this.#erase(prefix);
    for (const [id, { prefix }] of this.#open) if (gone.includes(prefix)) this.#open.delete(id);
    // A save that is under way may have the prefix in it already.
    await this.#saving;
    await this.save();
    return gone.length;
  }

  /** Writes the file: all of the old one or all of the new one is there at any time. */
  save(): Promise<void> {
    this.#saving ??= this.#write().finally(() => {
      this.#saving = undefined;
    });
    return this.#saving;
  }

  #now(): { wallMs: number; monotonicMs: number } {
    const { clock } = this.#deps;
    return { wallMs: clock.wallMs(), monotonicMs: clock.monotonicMs() };
  }

  #hear(input: Extract<EngineInput, { kind: 'session' }>): void {
    if (input.what === 'opened') {
      if (this.#open.size >= maxOpenSessions) return;
      const prefix = clientPrefix(input.client ?? '');
      this.#open.set(input.session, { prefix, openedAtMs: input.atMs - (input.ageMs ?? 0) });
    } else if (input.what === 'ended') {
      const session = this.#open.get(input.session);
      this.#open.delete(input.session);
      if (session === undefined) return;
      this.#history.sessionEnded(session.prefix, (input.atMs - session.openedAtMs) / 1000);
      this.#touch(session.prefix);
    }
  }

  #learnDemand(input: Extract<EngineInput, { kind: 'sessions' }>): void {
    const hour = Math.floor(this.#deps.clock.wallMs() / msPerHour) % 24;
    for (const { client, requests, bytesIn, bytesOut, periodMs } of input.sessions) {
      if (client === undefined || !(periodMs > 0)) continue;
      const prefix = clientPrefix(client);
      const perSec = 1000 / periodMs;
      this.#history.demandSeen(prefix, hour, requests * perSec, (bytesIn + bytesOut) * perSec);
      this.#touch(prefix);
    }
  }

  #touch(prefix: string): void {
    this.#isChanged = true;
    this.#seen.delete(prefix);
    this.#seen.set(prefix, this.#deps.clock.wallMs());
    if (this.#seen.size <= this.#deps.maxPrefixes) return;
    const oldest = this.#seen.keys().next().value;
    if (oldest !== undefined) this.#erase(oldest);
  }

  #erase(prefix: string): void {
    const { sink, clock } = this.#deps;
    this.#seen.delete(prefix);
    this.#history.erase(prefix);
    this.#isChanged = true;
    sink.push({ kind: 'erase', atMs: clock.monotonicMs(), prefix });
  }

  /** A jump of the wall clock makes nobody older or younger. */
  #retain(): void {
    const now = this.#now();
    const jumpedMs = now.wallMs - this.#savedAt.wallMs - (now.monotonicMs - this.#savedAt.monotonicMs);
    this.#savedAt = now;
    if (Math.abs(jumpedMs) > jumpMs) {
      this.#deps.counters.add('client_history_clock_jumps_total');
      for (const [prefix, seenAtMs] of this.#seen) this.#seen.set(prefix, seenAtMs + jumpedMs);
    }
    const oldestMs = now.wallMs - this.#deps.retentionMs();
    for (const [prefix, seenAtMs] of this.#seen) if (seenAtMs < oldestMs) this.#erase(prefix);
  }

  #saveLater(): void {
    this.#cancel = this.#deps.clock.after(saveEveryMs, () => {
      this.#saveLater();
      this.#retain();
      if (this.#isChanged) void this.#saveOrWarn();
    });
  }

  async #saveOrWarn(): Promise<void> {
    const { counters, logger } = this.#deps;
    try {
      await this.save();
    } catch (error) {
      counters.add('client_history_save_failed_total');
      const reason = (error as Error).message;
      logger.warn({ path: this.#path, reason }, 'the past of clients was not saved');
    }
  }

  async #write(): Promise<void> {
    this.#isChanged = false;
    const parts: Buffer[] = [];
    for (const part of this.#encode()) {
      parts.push(part);
      if (parts.length % recordsPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const aside = `${this.#path}.${process.pid}.new`;
    // A prefix that came or went between two turns is not counted in the header that was written first.
    parts[0] = encodeHeader(parts.length - 1, this.#width, this.#deps.clock.wallMs());
    const file = await open(aside, 'w', 0o600);
    try {
      await file.writeFile(Buffer.concat([...parts, checksumOf(parts)]));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(aside, this.#path);
  }

  #width = 0;

  /** Header first; the records go on while the event loop turns, over a Map that may change meanwhile. */
  *#encode(): Generator<Buffer> {
    const { clock } = this.#deps;
    const entries = [...this.#history.prefixes()];
    this.#width = this.#history.width;
    yield encodeHeader(entries.length + 1, this.#width, clock.wallMs());
    for (const prefix of ['', ...entries]) {
      const numbers = this.#history.numbersOf(prefix);
      if (numbers === undefined) continue;
      yield encodeRecord({ prefix, seenAtMs: this.#seen.get(prefix) ?? clock.wallMs(), numbers });
    }
  }

  #load(): void {
    const { clock, maxPrefixes } = this.#deps;
    let bytes: Buffer;
    try {
      bytes = readFileSync(this.#path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#coldStart((error as Error).message);
      return;
    }
    const file = decodeClientFile(bytes);
    const history = typeof file === 'string' ? undefined : ClientHistory.restore(file.history, maxPrefixes);
    if (typeof file === 'string' || history === undefined) {
      this.#coldStart(typeof file === 'string' ? file : 'its numbers are none');
      return;
    }
    this.#history = history;
    // Saved in the future: the wall clock went back meanwhile, and nobody is younger for it.
    const aheadMs = Math.max(0, file.savedAtMs - clock.wallMs());
    const oldestFirst = [...file.seen].sort((a, b) => a[1] - b[1]);
    for (const [prefix, seenAtMs] of oldestFirst)
      if (prefix !== '') this.#seen.set(prefix, seenAtMs - aheadMs);
    this.#retain();
  }

  /** The damaged file is kept for whoever wants to look, one of them. */
  #coldStart(why: string): void {
    const { counters, onEvent } = this.#deps;
    try {
      renameSync(this.#path, `${this.#path}.damaged`);
    } catch {
      // It could not be read either; the next save replaces it.
    }
    counters.add('client_history_cold_starts_total');
    onEvent('cold-start', `the past of clients (${this.#path}) is not used: ${why}`);
  }
}
