/**
 * Whose frames a client got, in which order: the proof that an owner that was taken over from says nothing any more.
 *
 * Judged by order alone and not by clocks: after the first frame of a session's next owner there must be none of an
 * earlier one, whatever time it is on which machine.
 */

/** Frames in a row from one endpoint to one client. */
export interface SourceRun {
  readonly endpoint: string;
  readonly frames: number;
  /** Bytes on the wire, headers included: a bare ACK or RST counts. */
  readonly bytes: number;
}

/** What came from endpoints that were not the owner any more. */
export interface FencedCount {
  readonly frames: number;
  readonly bytes: number;
}

/**
 * Frames in `runs` that no owner in `owners` (in the order they had the session) accounts for: from an earlier owner
 * after a later one, or from an endpoint that never had it.
 */
export function countFenced(runs: readonly SourceRun[], owners: readonly string[]): FencedCount {
  let at = 0;
  let frames = 0;
  let bytes = 0;
  for (const run of runs) {
    const next = owners.indexOf(run.endpoint, at);
    if (next >= 0) at = next;
    else {
      frames += run.frames;
      bytes += run.bytes;
    }
  }
  return { frames, bytes };
}

/** Adds one frame to the runs of a client. */
export function addFrame(runs: SourceRun[], endpoint: string, bytes: number): void {
  const last = runs.at(-1);
  if (last?.endpoint !== endpoint) runs.push({ endpoint, frames: 1, bytes });
  else runs[runs.length - 1] = { endpoint, frames: last.frames + 1, bytes: last.bytes + bytes };
}
