/** What is known of each session: where it is, its demand, its past, and whether it may move. */
import { ClientHistory } from '../risk/client-history.js';
import { SESSION_MOVING, SESSION_PINNED } from '../plan/fleet.js';
import { SessionTable, type TelemetryBatch } from '../plan/session-table.js';
import { ClientResets } from '../risk/client-resets.js';
import type { EngineInput } from './engine-input.js';

const FIRST_CAPACITY = 1024;
/** Expected lives are looked up anew once in so many ticks a session, and in every tick while there are few sessions. */
const LIFE_TICKS = 10;
const FEW_SESSIONS = 20_000;
/** Ordinary image, before the first move tells: TCP state and some kilobytes of application state. */
const USUAL_IMAGE_BYTES = 8192;
/** A session that never moved has nothing to settle from. */
const NEVER_MOVED_S = 1e9;

type SessionInput = Extract<EngineInput, { kind: 'session' }>;
type SessionsInput = Extract<EngineInput, { kind: 'sessions' }>;

/** Numbers of one session in `Numbers`. */
const WIDTH = 5;

/** Grows with the book; a column of numbers takes half of what numbers in objects take. */
interface Numbers {
  values: Float64Array;
}

/** One session. Its numbers stand in the book's array: as fields each would be an object of its own. */
class Entry {
  constructor(
    readonly id: string,
    readonly handle: number,
    readonly prefix: string,
    readonly listener: string,
    readonly location: string,
    private readonly numbers: Numbers,
  ) {}

  get openedMs(): number {
    return this.numbers.values[this.handle * WIDTH]!;
  }
  set openedMs(value: number) {
    this.numbers.values[this.handle * WIDTH] = value;
  }
  get movedMs(): number {
    return this.numbers.values[this.handle * WIDTH + 1]!;
  }
  set movedMs(value: number) {
    this.numbers.values[this.handle * WIDTH + 1] = value;
  }
  get requests(): number {
    return this.numbers.values[this.handle * WIDTH + 2]!;
  }
  set requests(value: number) {
    this.numbers.values[this.handle * WIDTH + 2] = value;
  }
  get bytes(): number {
    return this.numbers.values[this.handle * WIDTH + 3]!;
  }
  set bytes(value: number) {
    this.numbers.values[this.handle * WIDTH + 3] = value;
  }
  /** Not planned again before. */
  get restUntilMs(): number {
    return this.numbers.values[this.handle * WIDTH + 4]!;
  }
  set restUntilMs(value: number) {
    this.numbers.values[this.handle * WIDTH + 4] = value;
  }
}

/** Texts that are known to be the same; beyond it they are learned anew. */
const MAX_TEXTS = 20_000;

/** Sessions by id; handles are used again. */
export class SessionBook {
  table = new SessionTable(FIRST_CAPACITY);
  history = new ClientHistory();
  readonly resets = new ClientResets();
  /** When the handles of each remainder were looked at last. */
  private readonly visitedMs = new Float64Array(LIFE_TICKS).fill(Number.NEGATIVE_INFINITY);
  private readonly byId = new Map<string, Entry>();
  private readonly numbers: Numbers = { values: new Float64Array(FIRST_CAPACITY * WIDTH) };
  private readonly texts = new Map<string, string>();
  private entries: (Entry | undefined)[] = [];
  private readonly free: number[] = [];
  /** Rows about sessions nobody has heard of, or older than what is known. */
  ignoredRows = 0;

  get size(): number {
    return this.byId.size;
  }

  /** Highest handle in use + 1. */
  get span(): number {
    return this.entries.length;
  }

  get(id: string): Entry | undefined {
    return this.byId.get(id);
  }

  idOf(handle: number): string {
    return this.entries[handle]?.id ?? '';
  }

  entryOf(handle: number): Entry | undefined {
    return this.entries[handle];
  }

  /** A session is there (again). One that is known keeps its past and may have another endpoint. */
  open(input: SessionInput, endpoint: number): Entry {
    const known = this.byId.get(input.session);
    const entry = known ?? this.add(input);
    const { columns } = this.table;
    columns.endpoint[entry.handle] = endpoint;
    if (input.imageBytes !== undefined && input.imageBytes >= 0)
      columns.imageBytes[entry.handle] = input.imageBytes;
    return entry;
  }

  /** It ended; its length teaches what to expect of its client. */
  end(id: string, atMs: number, how?: SessionInput['end']): number {
    const entry = this.byId.get(id);
    if (entry === undefined) return -1;
    const lifeS = (atMs - entry.openedMs) / 1000;
    this.history.sessionEnded(entry.prefix, lifeS);
    if (how !== undefined) this.resets.ended(entry.prefix, lifeS, how === 'reset', this.unseenS(entry, atMs));
    this.byId.delete(id);
    this.entries[entry.handle] = undefined;
    this.table.remove(entry.handle);
    this.free.push(entry.handle);
    return entry.handle;
  }

  move(entry: Entry, endpoint: number, atMs: number): void {
    this.table.columns.endpoint[entry.handle] = endpoint;
    entry.movedMs = atMs;
  }

  setFlag(entry: Entry, flag: typeof SESSION_MOVING | typeof SESSION_PINNED, on: boolean): void {
    const { flags } = this.table.columns;
    flags[entry.handle] = on ? flags[entry.handle]! | flag : flags[entry.handle]! & ~flag;
  }

  /** Demand of sessions of one endpoint. Rows are differences; the newest wins, and an older one is ignored. */
  demand(input: SessionsInput): void {
    const { sessions, atMs } = input;
    const first = { session: [] as number[], taken: [] as number[] };
    const rows: { entry: Entry; takenMs: number }[] = [];
    for (const row of sessions) {
      const entry = this.byId.get(row.id);
      const takenMs = atMs - row.ageMs;
      const isSound = row.requests >= 0 && row.bytesIn >= 0 && row.bytesOut >= 0 && takenMs - takenMs === 0;
      if (entry === undefined || !isSound || !(this.lastTakenMs(entry) < takenMs)) {
        this.ignoredRows++;
        continue;
      }
      if (this.lastTakenMs(entry) === Number.NEGATIVE_INFINITY) {
        first.session.push(entry.handle);
        first.taken.push(takenMs - row.periodMs);
      }
      entry.requests += row.requests;
      entry.bytes += row.bytesIn + row.bytesOut;
      rows.push({ entry, takenMs });
    }
    // The first figure of a session is a rate too: it is measured from the beginning of its period.
    this.fold(
      first.session,
      first.taken,
      () => 0,
      () => 0,
    );
    this.fold(
      rows.map((r) => r.entry.handle),
      rows.map((r) => r.takenMs),
      (i) => rows[i]!.entry.requests,
      (i) => rows[i]!.entry.bytes,
    );
  }

  /** Brings residence and expected lives up to date; call once a tick. */
  refresh(nowMs: number, tick: number, horizonS: number): void {
    const { columns } = this.table;
    const isSmall = this.byId.size <= FEW_SESSIONS;
    for (const entry of this.byId.values()) {
      const { handle, movedMs, openedMs } = entry;
      columns.residenceS[handle] =
        nowMs < entry.restUntilMs ? 0 : movedMs > 0 ? (nowMs - movedMs) / 1000 : NEVER_MOVED_S;
      if (isSmall || columns.lifeS[handle] === 0 || handle % LIFE_TICKS === tick % LIFE_TICKS) {
        const ageS = (nowMs - openedMs) / 1000;
        columns.lifeS[handle] = this.history.expectedRemainingS(entry.prefix, ageS);
        if (isSmall || handle % LIFE_TICKS === tick % LIFE_TICKS)
          this.resets.lived(entry.prefix, ageS, this.unseenS(entry, nowMs));
        columns.clientRisk[handle] = this.resets.risk(entry.prefix, ageS, horizonS);
      }
    }
    if (isSmall) this.visitedMs.fill(nowMs);
    else this.visitedMs[tick % LIFE_TICKS] = nowMs;
  }

  /** Seconds of a session's life since its handle was looked at last. */
  private unseenS({ handle, openedMs }: Entry, nowMs: number): number {
    return (nowMs - Math.max(openedMs, this.visitedMs[handle % LIFE_TICKS]!)) / 1000;
  }

  /** The same text as before, where it was seen before: thousands of sessions share a prefix. */
  private once(text: string): string {
    const known = this.texts.get(text);
    if (known !== undefined) return known;
    if (this.texts.size >= MAX_TEXTS) this.texts.clear();
    this.texts.set(text, text);
    return text;
  }

  private lastTakenMs(entry: Entry): number {
    const age = this.table.ageMs(entry.handle, 0);
    return Number.isNaN(age) ? Number.NEGATIVE_INFINITY : -age;
  }

  private fold(
    handles: readonly number[],
    takenMs: readonly number[],
    requestsOf: (i: number) => number,
    bytesOf: (i: number) => number,
  ): void {
    if (handles.length === 0) return;
    const { endpoint, imageBytes } = this.table.columns;
    const batch: TelemetryBatch = {
      count: handles.length,
      session: Int32Array.from(handles),
      endpoint: Int32Array.from(handles, (h) => endpoint[h]!),
      takenMs: Float64Array.from(takenMs),
      requests: Float64Array.from(handles, (_, i) => requestsOf(i)),
      bytes: Float64Array.from(handles, (_, i) => bytesOf(i)),
      imageBytes: Float32Array.from(handles, (h) => imageBytes[h]!),
    };
    this.table.fold(batch, 0, 0);
  }

  private add(input: SessionInput): Entry {
    const handle = this.free.pop() ?? this.entries.length;
    if (handle >= this.table.capacity) {
      this.table = this.table.resized(this.table.capacity * 2);
      const { values } = this.numbers;
      this.numbers.values = new Float64Array(this.table.capacity * WIDTH);
      this.numbers.values.set(values);
    }
    const entry = new Entry(
      input.session,
      handle,
      this.once(clientPrefix(input.client ?? '')),
      this.once(input.listener ?? ''),
      this.once(input.location ?? ''),
      this.numbers,
    );
    entry.openedMs = input.atMs - (input.ageMs ?? 0);
    entry.movedMs = 0;
    entry.requests = 0;
    entry.bytes = 0;
    entry.restUntilMs = Number.NEGATIVE_INFINITY;
    this.entries[handle] = entry;
    this.byId.set(input.session, entry);
    const { columns } = this.table;
    columns.key[handle] = hashText(input.session);
    columns.lifeS[handle] = 0;
    columns.weight[handle] = 1;
    columns.require[handle] = 0;
    columns.forbid[handle] = 0;
    columns.scoreClass[handle] = 0;
    columns.region[handle] = 0;
    columns.buddy[handle] = -1;
    columns.clientRisk[handle] = Number.NaN;
    columns.imageBytes[handle] = USUAL_IMAGE_BYTES;
    return entry;
  }
}

/** The part of a client's address that its history is kept under: /24 of IPv4, /48 of IPv6. */
export function clientPrefix(address: string): string {
  if (address === '') return '?';
  if (!address.includes(':')) return `${address.split('.').slice(0, 3).join('.')}.0/24`;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  const missing = tail === undefined ? 0 : 8 - groups.length - (tail === '' ? 0 : tail.split(':').length);
  const full = [...groups, ...Array.from({ length: missing }, () => '0'), ...(tail ?? '').split(':')];
  return `${full
    .slice(0, 3)
    .map((g) => g || '0')
    .join(':')}::/48`;
}

/** FNV-1a: a stable number that stands for a session where an order is needed. */
function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
