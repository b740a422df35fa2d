import { describe, expect, it } from 'vitest';
import { addFrame, countFenced } from './sources.js';
import type { SourceRun } from './sources.js';

/** Letters are frames of 60 bytes in the order they came. */
function runsOf(frames: string): SourceRun[] {
  const runs: SourceRun[] = [];
  for (const endpoint of frames) addFrame(runs, endpoint, 60);
  return runs;
}

describe('frames of those that were taken over from', () => {
  it.each([
    ['one owner', 'aaaa', ['a'], 0],
    ['a take-over', 'aaabbb', ['a', 'b'], 0],
    ['a new owner that has said nothing yet', 'aaa', ['a', 'b'], 0],
    ['an owner that said nothing', 'aaaccc', ['a', 'b', 'c'], 0],
    ['the session came back', 'aabbaab', ['a', 'b', 'a', 'b'], 0],
    ['one frame of the old owner after the new one`s first', 'aaabab', ['a', 'b'], 1],
    ['three of them, in two runs', 'abaabab', ['a', 'b'], 3],
    ['somebody who never had it', 'aacaa', ['a', 'b'], 1],
    ['a late frame that looks like a return', 'aababba', ['a', 'b', 'a'], 2],
  ])('%s', (_what, frames, owners, fenced) => {
    expect(countFenced(runsOf(frames), owners)).toEqual({ frames: fenced, bytes: fenced * 60 });
  });
});
