import { describe, expect, it } from 'vitest';
import { SessionUsage } from '../session/session-usage.js';
import { type Counted, SessionRows } from './session-rows.js';

function fleet(count: number): Map<string, Counted> {
  const sessions = new Map<string, Counted>();
  for (let i = 0; i < count; i++) sessions.set(`s${i}`, { id: `s${i}`, usage: new SessionUsage() });
  return sessions;
}
const view = (sessions: Map<string, Counted>): Iterable<Counted> => ({
  [Symbol.iterator]: () => sessions.values(),
});
const use = (session: Counted | undefined, requests: number): void => session?.usage.mark(requests);

describe('what a session used', () => {
  it('is marks if there are any, else answers, else pieces of payload', () => {
    const usage = new SessionUsage();
    usage.begin(0);
    usage.received(10);
    usage.received(10);
    expect(usage.take(500)).toEqual({ requests: 2, bytesIn: 20, bytesOut: 0, periodMs: 500 });
    usage.received(1);
    usage.received(1);
    usage.written(5);
    usage.written(5);
    expect(usage.take(1500)).toEqual({ requests: 1, bytesIn: 2, bytesOut: 10, periodMs: 1000 });
    usage.received(1);
    usage.mark(7);
    expect(usage.take(2500)).toMatchObject({ requests: 7 });
    usage.received(1);
    expect(usage.take(3500)).toMatchObject({ requests: 0, bytesIn: 1 });
  });

  it('has a period of its own also when the clock stands or goes back', () => {
    const usage = new SessionUsage();
    usage.begin(1000);
    expect(usage.take(1000).periodMs).toBe(1);
    expect(usage.take(0).periodMs).toBe(1);
  });

  it('is news when it stops: a busy session that falls silent is told of', () => {
    const usage = new SessionUsage();
    usage.begin(0);
    usage.mark(100);
    usage.take(1000);
    expect(usage.news(2000)).toBeGreaterThan(50);
    usage.take(2000);
    expect(usage.news(3000)).toBe(0);
  });
});

describe('the rows of a message', () => {
  it('are all that have news when there is room', () => {
    const sessions = fleet(10);
    const rows = new SessionRows(view(sessions));
    use(sessions.get('s3'), 2);
    use(sessions.get('s7'), 1);
    const told = rows.take(1000, 100);
    expect(told.map((row) => row[0]).slice(0, 2)).toEqual(['s3', 's7']);
    expect(new Set(told.map((row) => row[0])).size).toBe(told.length);
  });

  it('over the bound are the heaviest, and never more than the bound', () => {
    const sessions = fleet(1000);
    const rows = new SessionRows(view(sessions));
    for (let i = 0; i < 1000; i++) use(sessions.get(`s${i}`), i + 1);
    const told = rows.take(1000, 64);
    expect(told.length).toBeLessThanOrEqual(64);
    const requests = told.slice(0, 56).map((row) => row[3]);
    expect(Math.min(...requests)).toBe(945);
  });

  it('bring every session in turn, however busy the others are, each with the time it covers', () => {
    const sessions = fleet(300);
    const rows = new SessionRows(view(sessions));
    const told = new Map<string, number>();
    for (let period = 1; period <= 80; period++) {
      for (let i = 0; i < 100; i++) use(sessions.get(`s${i}`), 1000 + i);
      for (const [id, , periodMs] of rows.take(period * 1000, 32))
        told.set(id, Math.max(told.get(id) ?? 0, periodMs));
    }
    expect(told.size).toBe(300);
    expect(told.get('s299')).toBeGreaterThan(10_000);
  });

  it('lose no request of a session, whenever it is its turn', () => {
    const sessions = fleet(50);
    const rows = new SessionRows(view(sessions));
    let used = 0;
    let heard = 0;
    for (let period = 1; period <= 200; period++) {
      for (let i = 0; i < 50; i++) {
        if (period > 150 || (i * 7 + period) % 3 !== 0) continue;
        use(sessions.get(`s${i}`), 1);
        used++;
      }
      for (const row of rows.take(period * 1000, 8)) heard += row[3];
    }
    expect(heard).toBe(used);
  });

  it('survive sessions that come and go while their turn is near', () => {
    const sessions = fleet(20);
    const rows = new SessionRows(view(sessions));
    for (let period = 1; period < 100; period++) {
      sessions.delete(`s${period - 1}`);
      sessions.set(`s${period + 19}`, { id: `s${period + 19}`, usage: new SessionUsage() });
      for (const [id] of rows.take(period * 1000, 8)) expect(sessions.has(id)).toBe(true);
    }
    sessions.clear();
    expect(rows.take(200_000, 8)).toEqual([]);
  });
});
