/**
 * Certain events: a drain, a maintenance window, a host that is being taken away. Each has a deadline; of several on one
 * endpoint the earliest counts. Those that were given by hand or by the hook are on disk, in wall time, so that a restart of
 * the daemon forgets none; the engine gets deadlines on the monotonic clock, which no step of the wall clock moves.
 */
import { join } from 'node:path';
import type { NoticeKind } from '@restitch/analytics';
import { RestitchError } from '@restitch/core';
import type { Clock, Counters, Logger } from '@restitch/core';
import { type Announceable, announceable } from '@restitch/wire/internal';
import { z } from 'zod';
import type { MaintenanceWindow } from '../config/index.js';
import { readFileIfThere, writeFileAtomically } from '../model/endpoint-ids.js';
import type { Endpoint, EndpointRegistry } from '../model/endpoint-registry.js';
import type { AnalyticsSink } from './sink.js';

/** A certain event as it is shown. */
export interface NoticeView {
  readonly endpoint: string;
  readonly what: Exclude<NoticeKind, 'none'>;
  /** Milliseconds to its deadline; negative afterwards. */
  readonly inMs: number;
  readonly from: 'operator' | 'hook' | 'configuration' | 'drain';
}

/** What notices work with. */
export interface NoticesDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly endpoints: EndpointRegistry;
  readonly sink: AnalyticsSink;
  readonly stateDirectory: string;
  readonly maintenance: (endpoint: string) => readonly MaintenanceWindow[];
  /** Wall time by which an endpoint's drain is to be done; undefined if it is not drained. */
  readonly drainDeadlineMs: (endpoint: string) => number | undefined;
}

/** Longest notice: a week. What is further away is a plan, not a notice. */
const longestMs = 7 * 86_400_000;
/** A notice is forgotten so long after its deadline: the host it was about has gone, or has come back. */
const forgottenAfterMs = 3_600_000;
/** Windows and drains are looked at this often; by hand and by hook it is at once. */
const lookMs = 1000;

const savedSchema = z.array(
  z.strictObject({
    endpoint: z.string(),
    what: z.enum(announceable),
    from: z.enum(['operator', 'hook']),
    deadlineWallMs: z.number(),
  }),
);
type Saved = z.infer<typeof savedSchema>[number];

interface Given {
  readonly what: Announceable;
  readonly from: 'operator' | 'hook';
  /** CLOCK_MONOTONIC. */
  readonly deadlineAtMs: number;
}

interface Certain {
  readonly what: Exclude<NoticeKind, 'none'>;
  readonly from: NoticeView['from'];
  readonly deadlineAtMs: number;
}

/** All certain events. */
export class Notices {
  readonly #deps: NoticesDeps;
  readonly #path: string;
  readonly #given = new Map<string, Given>();
  /** What the engine was told of an endpoint last. */
  readonly #told = new Map<string, { what: NoticeKind; deadlineAtMs: number }>();
  #cancel: (() => void) | undefined;

  constructor(deps: NoticesDeps) {
    this.#deps = deps;
    this.#path = join(deps.stateDirectory, 'notices.json');
  }

  /** Takes up what an earlier daemon was told, and begins to look at windows and drains. */
  start(): void {
    this.#load();
    this.#look();
  }

  close(): void {
    this.#cancel?.();
  }

  /** Announces an event in `inMs`; replaces an earlier one. Throws `unknown_endpoint`, `usage`. */
  give(endpoint: Endpoint, what: Announceable, inMs: number, from: Given['from']): NoticeView {
    if (!Number.isFinite(inMs) || inMs < 0 || inMs > longestMs) {
      throw new RestitchError('usage', `notice in ${inMs} ms: expected 0 ms to 7 days`);
    }
    const { clock, counters, logger } = this.#deps;
    this.#given.set(endpoint.name, { what, from, deadlineAtMs: clock.monotonicMs() + inMs });
    counters.add(`notices_${what}_total`);
    logger.warn({ endpoint: endpoint.name, what, inMs, from }, 'notice: its sessions had better leave');
    this.#save();
    this.#tell(endpoint);
    return this.viewOf(endpoint) ?? { endpoint: endpoint.name, what, inMs, from };
  }

  /** Takes back what was announced; drains and windows of the configuration stay. False if nothing was. */
  cancel(endpoint: Endpoint): boolean {
    if (!this.#given.delete(endpoint.name)) return false;
    this.#deps.logger.info({ endpoint: endpoint.name }, 'notice taken back');
    this.#save();
    this.#tell(endpoint);
    return true;
  }

  /** An endpoint's drain began or ended. */
  drainChanged(endpoint: Endpoint): void {
    this.#tell(endpoint);
  }

  /** What is certain now, earliest deadline first. */
  all(): NoticeView[] {
    const views = this.#deps.endpoints.all().map((endpoint) => this.viewOf(endpoint));
    return views.filter((view) => view !== undefined).sort((a, b) => a.inMs - b.inMs);
  }

  #look(): void {
    for (const endpoint of this.#deps.endpoints.all()) this.#tell(endpoint);
    this.#cancel = this.#deps.clock.after(lookMs, () => this.#look());
  }

  /** What is certain of one endpoint. */
  viewOf(endpoint: Endpoint): NoticeView | undefined {
    const certain = this.#certain(endpoint.name);
    if (certain === undefined) return undefined;
    const inMs = certain.deadlineAtMs - this.#deps.clock.monotonicMs();
    return { endpoint: endpoint.name, what: certain.what, inMs, from: certain.from };
  }

  /** The earliest of what holds for an endpoint. */
  #certain(name: string): Certain | undefined {
    const { clock, maintenance, drainDeadlineMs } = this.#deps;
    const nowMs = clock.monotonicMs();
    const wallMs = clock.wallMs();
    const all: Certain[] = [];
    const given = this.#given.get(name);
    if (given !== undefined && nowMs - given.deadlineAtMs < forgottenAfterMs) all.push(given);
    for (const window of maintenance(name)) {
      const { startAtMs, durationMs, noticeMs } = window;
      if (wallMs < startAtMs - noticeMs || wallMs >= startAtMs + durationMs) continue;
      all.push({ what: 'maintenance', from: 'configuration', deadlineAtMs: nowMs + startAtMs - wallMs });
    }
    const drainMs = drainDeadlineMs(name);
    if (drainMs !== undefined) {
      all.push({ what: 'drain', from: 'drain', deadlineAtMs: nowMs + drainMs - wallMs });
    }
    return all.sort((a, b) => a.deadlineAtMs - b.deadlineAtMs)[0];
  }

  /** Tells the engine what has changed; a deadline that moved by less than a second (two clocks) has not. */
  #tell(endpoint: Endpoint): void {
    const { clock, sink } = this.#deps;
    const before = this.#told.get(endpoint.name) ?? { what: 'none', deadlineAtMs: 0 };
    const { what, deadlineAtMs } = this.#certain(endpoint.name) ?? { what: 'none' as const, deadlineAtMs: 0 };
    if (what === before.what && Math.abs(deadlineAtMs - before.deadlineAtMs) < 1000) return;
    this.#told.set(endpoint.name, { what, deadlineAtMs });
    sink.push({ kind: 'notice', atMs: clock.monotonicMs(), endpoint: endpoint.name, what, deadlineAtMs });
  }

  #save(): void {
    const { clock } = this.#deps;
    const offsetMs = clock.wallMs() - clock.monotonicMs();
    const saved: Saved[] = [...this.#given].map(([endpoint, { what, from, deadlineAtMs }]) => ({
      endpoint,
      what,
      from,
      deadlineWallMs: deadlineAtMs + offsetMs,
    }));
    writeFileAtomically(this.#path, JSON.stringify(saved));
  }

  /** A damaged file costs the notices, not the daemon: they are short-lived, and traffic is not. */
  #load(): void {
    const { clock, logger, counters, endpoints } = this.#deps;
    const text = readFileIfThere(this.#path);
    if (text === undefined) return;
    const parsed = savedSchema.safeParse(parseJson(text));
    if (!parsed.success) {
      counters.add('notices_damaged_total');
      logger.error({ path: this.#path }, 'the file of notices is damaged: they are forgotten');
      return;
    }
    const offsetMs = clock.wallMs() - clock.monotonicMs();
    for (const { endpoint, what, from, deadlineWallMs } of parsed.data) {
      endpoints.ensure(endpoint);
      this.#given.set(endpoint, { what, from, deadlineAtMs: deadlineWallMs - offsetMs });
    }
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
