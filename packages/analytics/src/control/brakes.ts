/**
 * Brakes on automatic moves as a pure state machine: time comes in with each input, nothing is looked up. Manual moves are
 * never asked. A brake that was pulled by reverts or stale telemetry lets go by itself when its cause is gone.
 */

/** Limits; `DEFAULT_BRAKES` is the documented behaviour. */
export interface BrakeLimits {
  /** Share of moves reverted, 0..1, above which nothing moves. */
  readonly maxRevertRatio: number;
  /** Window of that share. */
  readonly revertWindowMs: number;
  /** Fewest moves in the window before the share means anything. */
  readonly minMoves: number;
  /** Sessions moved in any 60 s. */
  readonly maxMovesPerMin: number;
  /** Age of the newest telemetry from which on it is stale. */
  readonly staleMs: number;
}

/** 5 % in 5 minutes is the promise of the documentation; 20 moves make one revert exactly 5 %. */
export const DEFAULT_BRAKES: BrakeLimits = {
  maxRevertRatio: 0.05,
  revertWindowMs: 300_000,
  minMoves: 20,
  maxMovesPerMin: 6_000,
  staleMs: 5_000,
};

/** Why nothing moves. */
export type BrakeReason = 'off' | 'reverts' | 'rate' | 'stale';

/** Inputs; `atMs` is monotonic time. */
export type BrakeInput =
  | { readonly t: 'mode'; readonly atMs: number; readonly off: boolean }
  | { readonly t: 'move'; readonly atMs: number; readonly outcome: 'committed' | 'reverted' }
  | { readonly t: 'telemetry'; readonly atMs: number }
  | { readonly t: 'tick'; readonly atMs: number };

/** Counts are kept by whole seconds: 300 pairs, whatever the number of moves. */
export interface BrakeState {
  readonly off: boolean;
  readonly lastTelemetryMs: number | undefined;
  readonly seconds: readonly { readonly second: number; readonly moves: number; readonly reverts: number }[];
  readonly reasons: readonly BrakeReason[];
}

/** A brake was pulled or let go; each is an event and a metric. */
export interface BrakeEvent {
  readonly t: 'pulled' | 'released';
  readonly reason: BrakeReason;
}

/** No telemetry has been seen: braked until some has. */
export function createBrakes(): BrakeState {
  return { off: false, lastTelemetryMs: undefined, seconds: [], reasons: ['stale'] };
}

/** Folds an input in. Moves are allowed while `reasons` is empty. */
export function stepBrakes(
  state: BrakeState,
  input: BrakeInput,
  limits: BrakeLimits = DEFAULT_BRAKES,
): { readonly state: BrakeState; readonly events: readonly BrakeEvent[] } {
  const second = Math.floor(input.atMs / 1000);
  const oldest = Math.floor((input.atMs - limits.revertWindowMs) / 1000);
  let seconds = state.seconds.filter((s) => s.second > oldest);
  if (input.t === 'move') {
    const reverts = input.outcome === 'reverted' ? 1 : 0;
    const last = seconds.find((s) => s.second === second);
    seconds =
      last === undefined
        ? [...seconds, { second, moves: 1, reverts }]
        : seconds.map((s) => (s === last ? { second, moves: s.moves + 1, reverts: s.reverts + reverts } : s));
  }
  const off = input.t === 'mode' ? input.off : state.off;
  const lastTelemetryMs =
    input.t === 'telemetry'
      ? Math.max(input.atMs, state.lastTelemetryMs ?? input.atMs)
      : state.lastTelemetryMs;
  const next = { off, lastTelemetryMs, seconds };
  const reasons = reasonsOf(next, input.atMs, limits);
  const events: BrakeEvent[] = [];
  for (const reason of reasons) if (!state.reasons.includes(reason)) events.push({ t: 'pulled', reason });
  for (const reason of state.reasons) if (!reasons.includes(reason)) events.push({ t: 'released', reason });
  return { state: { ...next, reasons }, events };
}

/** Moves still allowed in this minute; 0 while any brake is pulled. */
export function movesAllowed(state: BrakeState, atMs: number, limits: BrakeLimits = DEFAULT_BRAKES): number {
  if (reasonsOf(state, atMs, limits).length > 0) return 0;
  return limits.maxMovesPerMin - movesSince(state, atMs - 60_000);
}

function reasonsOf(
  state: Pick<BrakeState, 'off' | 'lastTelemetryMs' | 'seconds'>,
  atMs: number,
  limits: BrakeLimits,
): BrakeReason[] {
  const reasons: BrakeReason[] = [];
  if (state.off) reasons.push('off');
  const moves = state.seconds.reduce((sum, s) => sum + s.moves, 0);
  const reverts = state.seconds.reduce((sum, s) => sum + s.reverts, 0);
  if (moves >= limits.minMoves && reverts > limits.maxRevertRatio * moves) reasons.push('reverts');
  if (movesSince(state, atMs - 60_000) >= limits.maxMovesPerMin) reasons.push('rate');
  if (state.lastTelemetryMs === undefined || atMs - state.lastTelemetryMs > limits.staleMs)
    reasons.push('stale');
  return reasons;
}

function movesSince(state: Pick<BrakeState, 'seconds'>, sinceMs: number): number {
  const from = Math.floor(sinceMs / 1000);
  return state.seconds.reduce((sum, s) => (s.second > from ? sum + s.moves : sum), 0);
}
