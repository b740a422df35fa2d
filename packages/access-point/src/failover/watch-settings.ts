/** Times of detection as they follow from the heartbeat. */
import type { WatchSettings } from '@restitch/guard/internal';

const missedUntilDead = 3;
const missedUntilStopped = 10;
/** Clocks of two machines run at most 1 % apart. */
const leaseMarginRatio = 0.02;

/** How long somebody may be silent before it counts as dead. */
export function detectionMsOf(heartbeatMs: number): number {
  return heartbeatMs * missedUntilDead;
}

/** What the watch machine is run with. */
export function watchSettingsOf(heartbeatMs: number): WatchSettings {
  const leaseMs = detectionMsOf(heartbeatMs);
  return {
    heartbeatMs,
    missedUntilDead,
    missedUntilStopped,
    leaseMs,
    leaseMarginMs: leaseMs * leaseMarginRatio,
  };
}
