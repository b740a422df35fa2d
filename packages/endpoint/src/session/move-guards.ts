/** What the application has to say about moves of one session: not now (busy), not at all (pins), and hooks around it. */

/** Runs around a freeze; may be async, within the move's budget. */
export type FreezeHook = () => void | Promise<void>;

/** Longest reason that a control message carries. */
const maxReasonChars = 200;

/** Pins that the session itself sets begin with this; the application cannot take them back. */
const ownPrefix = 'stream: ';

/** Tokens, pins and hooks of one session. */
export class MoveGuards {
  readonly freezeHooks: FreezeHook[] = [];
  readonly thawHooks: FreezeHook[] = [];
  /** The last busy token was given back: the application marks a safe point. */
  onIdle: () => void = () => undefined;
  readonly #pins = new Set<string>();
  #busyCount = 0;
  #waiters: Array<() => void> = [];

  get busyCount(): number {
    return this.#busyCount;
  }

  /** The oldest reason why the session may not move; undefined if it may. */
  get pinned(): string | undefined {
    return this.#pins.values().next().value;
  }

  /** Takes a token; the returned function gives it back, once. */
  take(): () => void {
    this.#busyCount++;
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#busyCount--;
      if (this.#busyCount > 0) return;
      this.wake();
      this.onIdle();
    };
  }

  /** Resolves when no token is held, or when `wake` gives up waiting for that. */
  whenIdle(): Promise<void> {
    if (this.#busyCount === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** Lets everybody who waits look again. */
  wake(): void {
    for (const resume of this.#waiters.splice(0)) resume();
  }

  pin(reason: string): void {
    this.#pins.add(reason.slice(0, maxReasonChars));
  }

  /** The session's own pin. */
  pinStream(reason: string): void {
    this.pin(`${ownPrefix}${reason}`);
  }

  /** Takes back one of the application's pins, or all of them. */
  unpin(reason?: string): void {
    for (const pin of this.#pins) {
      const isMeant = reason === undefined || pin === reason.slice(0, maxReasonChars);
      if (isMeant && !pin.startsWith(ownPrefix)) this.#pins.delete(pin);
    }
  }
}
