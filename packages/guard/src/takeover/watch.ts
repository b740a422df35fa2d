/**
 * Is an endpoint alive, and may its sessions be taken over: one small machine per endpoint instance. No I/O.
 *
 * Two things must be true before a buddy serves: the endpoint was declared dead, and its lease has ended. The first is
 * a guess that may be wrong (a cut, a stopped process); the second is kept by the old owner's own kernel.
 */
import { mayGrant, mayTakeOver } from '../rules.js';

/** process: the agent saw it end. stopped: its agent answers, it does not. host: nobody hears anything of it. */
export type DeathReason = 'process' | 'stopped' | 'host';

/** Times of detection. */
export interface WatchSettings {
  /** Between two heartbeats. */
  readonly heartbeatMs: number;
  /** Missed ones until the endpoint is declared dead; the first missed one makes it suspect. */
  readonly missedUntilDead: number;
  /** The same while its agent answers: then it is known to live, and is stopped or gets no turn of the processor. */
  readonly missedUntilStopped: number;
  /** A lease's length, counted by its holder from the request. */
  readonly leaseMs: number;
  /** Added to the granter's own reckoning of a lease: two clocks may run 1 % apart. */
  readonly leaseMarginMs: number;
}

/** 200 ms × 3; the lease ends with the third missed heartbeat, so waiting for it costs nothing extra. */
export const defaultWatchSettings: WatchSettings = {
  heartbeatMs: 200,
  missedUntilDead: 3,
  missedUntilStopped: 10,
  leaseMs: 600,
  leaseMarginMs: 10,
};

/** Where an endpoint instance stands. Only `dead` and `taken` are final. */
export type WatchState =
  | { readonly t: 'healthy'; readonly heardAtMs: number; readonly leaseEndsAtMs: number }
  | { readonly t: 'suspect'; readonly heardAtMs: number; readonly leaseEndsAtMs: number }
  | {
      readonly t: 'dead';
      readonly reason: DeathReason;
      readonly atMs: number;
      readonly leaseEndsAtMs: number;
    }
  | { readonly t: 'taken'; readonly reason: DeathReason; readonly deadAtMs: number; readonly atMs: number };

/** What happens to it. */
export type WatchEvent =
  | { readonly t: 'heard'; readonly nowMs: number }
  | { readonly t: 'lease-requested'; readonly nowMs: number }
  /** Its connection broke: as good as a missed heartbeat, and known at once. */
  | { readonly t: 'link-lost'; readonly nowMs: number }
  /** Time passed; `agentHeardAtMs`: when its agent was last heard. */
  | { readonly t: 'tick'; readonly nowMs: number; readonly agentHeardAtMs?: number }
  /** Its agent saw the process end; `isFenced`: and has ended its lease in the map. */
  | { readonly t: 'process-ended'; readonly nowMs: number; readonly isFenced: boolean };

/** hold, give-back: its flows at the access point. grant: the lease. fence: tell its agent and itself. take-over: start. */
export type WatchAction =
  | { readonly t: 'hold' }
  | { readonly t: 'give-back' }
  | { readonly t: 'grant'; readonly leaseMs: number }
  | { readonly t: 'refuse-lease' }
  | { readonly t: 'fence'; readonly reason: DeathReason }
  | { readonly t: 'take-over'; readonly reason: DeathReason };

/** The state after an event, and what to do. */
export interface WatchStep {
  readonly state: WatchState;
  readonly actions: readonly WatchAction[];
}

/** A new instance that has just said hello. */
export function newWatch(nowMs: number): WatchState {
  return { t: 'healthy', heardAtMs: nowMs, leaseEndsAtMs: nowMs };
}

/** The watcher itself had no turn for `sleptMs`: that time is nobody's silence. A lease goes on ending when it ends. */
export function forgiveOwnSleep(state: WatchState, sleptMs: number, nowMs: number): WatchState {
  if (state.t === 'dead' || state.t === 'taken') return state;
  return { ...state, heardAtMs: Math.min(nowMs, state.heardAtMs + sleptMs) };
}

/** One step of the machine. */
export function stepWatch(state: WatchState, event: WatchEvent, settings = defaultWatchSettings): WatchStep {
  switch (event.t) {
    case 'heard':
      return onHeard(state, event.nowMs);
    case 'lease-requested':
      return onLeaseRequested(state, event.nowMs, settings);
    case 'link-lost':
      return state.t === 'healthy'
        ? { state: { ...state, t: 'suspect' }, actions: [{ t: 'hold' }] }
        : { state, actions: [] };
    case 'process-ended':
      return onProcessEnded(state, event.nowMs, event.isFenced);
    case 'tick':
      return onTick(state, event, settings);
  }
}

function onHeard(state: WatchState, nowMs: number): WatchStep {
  if (state.t === 'healthy') return { state: { ...state, heardAtMs: nowMs }, actions: [] };
  if (state.t === 'suspect') {
    return { state: { ...state, t: 'healthy', heardAtMs: nowMs }, actions: [{ t: 'give-back' }] };
  }
  // It wakes up after the verdict: it must learn that it is fenced and come back as another instance.
  return { state, actions: [{ t: 'fence', reason: state.reason }] };
}

function onLeaseRequested(state: WatchState, nowMs: number, settings: WatchSettings): WatchStep {
  if (state.t === 'taken' || !mayGrant(state.t)) return { state, actions: [{ t: 'refuse-lease' }] };
  // A suspect's agent may still answer; without this a false alarm would also cost it its lease.
  const leaseEndsAtMs = nowMs + settings.leaseMs + settings.leaseMarginMs;
  return { state: { ...state, leaseEndsAtMs }, actions: [{ t: 'grant', leaseMs: settings.leaseMs }] };
}

function onProcessEnded(state: WatchState, nowMs: number, isFenced: boolean): WatchStep {
  if (state.t === 'taken') return { state, actions: [] };
  const leaseEndsAtMs = isFenced ? nowMs : state.leaseEndsAtMs;
  const isNews = state.t === 'healthy';
  const dead: WatchState = { t: 'dead', reason: 'process', atMs: nowMs, leaseEndsAtMs };
  const next = takeIfAllowed(dead, nowMs);
  return { state: next.state, actions: isNews ? [{ t: 'hold' }, ...next.actions] : next.actions };
}

function onTick(
  state: WatchState,
  event: Extract<WatchEvent, { t: 'tick' }>,
  settings: WatchSettings,
): WatchStep {
  if (state.t === 'taken') return { state, actions: [] };
  if (state.t === 'dead') return takeIfAllowed(state, event.nowMs);
  const silentMs = event.nowMs - state.heardAtMs;
  const reason = reasonOf(event, event.nowMs - settings.heartbeatMs * settings.missedUntilDead);
  const missed = reason === 'stopped' ? settings.missedUntilStopped : settings.missedUntilDead;
  if (silentMs >= settings.heartbeatMs * missed) {
    const isNews = state.t === 'healthy';
    const dead: WatchState = { t: 'dead', reason, atMs: event.nowMs, leaseEndsAtMs: state.leaseEndsAtMs };
    const next = takeIfAllowed(dead, event.nowMs);
    const actions: WatchAction[] = [...(isNews ? [{ t: 'hold' as const }] : []), { t: 'fence', reason }];
    return { state: next.state, actions: [...actions, ...next.actions] };
  }
  // Half an interval of grace: a heartbeat that is due now is not yet missed.
  if (state.t === 'healthy' && silentMs >= settings.heartbeatMs * 1.5) {
    return { state: { ...state, t: 'suspect' }, actions: [{ t: 'hold' }] };
  }
  return { state, actions: [] };
}

function takeIfAllowed(state: WatchState, nowMs: number): WatchStep {
  if (state.t !== 'dead' || !mayTakeOver(state.t, nowMs, state.leaseEndsAtMs)) return { state, actions: [] };
  const taken: WatchState = { t: 'taken', reason: state.reason, deadAtMs: state.atMs, atMs: nowMs };
  return { state: taken, actions: [{ t: 'take-over', reason: state.reason }] };
}

function reasonOf(event: Extract<WatchEvent, { t: 'tick' }>, sinceMs: number): DeathReason {
  return (event.agentHeardAtMs ?? 0) > sinceMs ? 'stopped' : 'host';
}
