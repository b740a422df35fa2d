/** Asks the access point's analytics once a period what they think, and keeps it: scores to be judged, forecasts to be drawn. */
import { monotonicMs } from '../../load/clients/monotonic.js';
import type { LabAdmin } from '../lab-admin.js';

/** What was said of one endpoint at one moment; loads are shares of its quota. */
export interface Statement {
  readonly atMs: number;
  readonly endpoint: string;
  readonly sessions: number;
  /** Probability that its sessions stay undisturbed for the horizon. */
  readonly score: number;
  readonly load: number | null;
  readonly p50: number | null;
  readonly p90: number | null;
}

/** Everything that was said in one run. */
export interface Statements {
  readonly list: readonly Statement[];
  /** When the forecast was first seen to have handed over to the reactive rule. */
  readonly fellBackAtMs: number | undefined;
}

const periodMs = 1000;

/** Polls until it is stopped; an answer that does not come is left out. */
export class ScoreLog {
  readonly #admin: LabAdmin;
  readonly #list: Statement[] = [];
  #fellBackAtMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(admin: LabAdmin) {
    this.#admin = admin;
  }

  get statements(): Statements {
    return { list: this.#list, fellBackAtMs: this.#fellBackAtMs };
  }

  /** The newest word on each endpoint. */
  latest(endpoint: string): Statement | undefined {
    return this.#list.findLast((statement) => statement.endpoint === endpoint);
  }

  start(): void {
    const poll = async (): Promise<void> => {
      const status = await this.#admin.analytics().catch(() => undefined);
      if (this.#isStopped) return;
      const atMs = monotonicMs();
      const engine = status === undefined || 'unavailable' in status.engine ? undefined : status.engine;
      if (engine?.rule === 'reactive' && engine.configuredRule === 'predictive') {
        this.#fellBackAtMs ??= atMs;
      }
      for (const { name, sessions, score, load, p50, p90, cores } of engine?.endpoints ?? []) {
        if (typeof score !== 'number' || cores === undefined) continue;
        const share = (cpus: number | null | undefined): number | null =>
          cpus === undefined || cpus === null ? null : cpus / cores;
        this.#list.push({
          atMs,
          endpoint: name,
          sessions,
          score,
          load: share(load),
          p50: share(p50),
          p90: share(p90),
        });
      }
      this.#timer = setTimeout(() => void poll(), periodMs);
    };
    void poll();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }
}
