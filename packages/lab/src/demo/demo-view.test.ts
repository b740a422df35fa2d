import { describe, expect, it } from 'vitest';
import { noTotals } from '../lab/client-fleet.js';
import { createLineView, createTableView } from './demo-view.js';
import type { DemoFrame } from './demo-view.js';

const frame: DemoFrame = {
  endpoints: [{ name: 'a', state: 'healthy', sessions: 3, movedIn: 1, movedOut: 2 }],
  totals: { ...noTotals, receivedBytes: 2_000_000, resets: 1 },
  transferredBytes: 500_000,
  moves: { committed: 7, reverted: 1 },
};

describe('plain lines', () => {
  it('tell acts and notes, and the numbers once at the end of an act', () => {
    let text = '';
    const view = createLineView((more) => (text += more));
    view.act('Act 1');
    for (let i = 0; i < 5; i++) view.frame(frame);
    view.note('something');
    view.act('Act 2');
    view.close();
    expect(text.match(/moves: 7, reverted 1/g)).toHaveLength(1);
    expect(text).toContain('2.5 MB checked, 0 wrong, 1 resets');
    expect(text.indexOf('something')).toBeLessThan(text.indexOf('Act 2'));
    expect(text).not.toContain('\u001b');
  });
});

describe('the table', () => {
  it('is drawn over itself, and never over a note', () => {
    const parts: string[] = [];
    const view = createTableView((more) => parts.push(more));
    view.frame(frame);
    view.frame(frame);
    view.note('kept');
    view.frame(frame);
    const [first, second, note, third] = parts;
    const lines = (first ?? '').split('\n').length - 1;
    expect(first).not.toContain('\u001b[0J');
    expect(second).toContain(`\u001b[${lines}A\u001b[0J`);
    expect(note).toContain('kept');
    expect(third).not.toContain('\u001b[0J');
    expect(first).toContain('███');
  });
});
