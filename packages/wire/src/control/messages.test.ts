import { describe, expect, it } from 'vitest';
import { parseMessage } from '../codec/parse-message.js';
import { fromEndpointSchema, toEndpointSchema } from './messages.js';

const heartbeat = { t: 'heartbeat', n: 1, sessions: 0, eventLoopDelayMs: 0 };
const session = {
  id: 's',
  flow: { client: { address: '10.0.0.1', port: 5000 }, vip: { address: '10.0.0.2', port: 80 } },
  epoch: 1,
  phase: 'live',
  openedAtMs: 0,
};

function refusalOf(message: unknown): string {
  try {
    parseMessage(fromEndpointSchema, message, 'a');
  } catch (error) {
    expect(error).toMatchObject({ code: 'message_invalid' });
    return (error as Error).message;
  }
  throw new Error('was taken');
}

describe('messages', () => {
  it('of a newer minor version are read, unknown keys left out', () => {
    expect(parseMessage(fromEndpointSchema, { ...heartbeat, later: 1 }, 'a')).toEqual(heartbeat);
  });

  it('carry addresses in one spelling', () => {
    const flow = {
      client: { address: '::FFFF:10.0.0.1', port: 1 },
      vip: { address: '2001:DB8:0::1', port: 2 },
    };
    const opened = parseMessage(fromEndpointSchema, { t: 'opened', sessions: [{ ...session, flow }] }, 'a');
    expect(opened).toMatchObject({
      sessions: [{ flow: { client: { address: '10.0.0.1' }, vip: { address: '2001:db8::1' } } }],
    });
  });

  it.each([
    [
      'a flow without an address',
      {
        t: 'opened',
        sessions: [{ ...session, flow: { ...session.flow, client: { address: 'localhost', port: 1 } } }],
      },
    ],
    ['an epoch wider than the record', { t: 'opened', sessions: [{ ...session, epoch: 2 ** 24 }] }],
    ['an epoch with a fraction', { t: 'opened', sessions: [{ ...session, epoch: 1.5 }] }],
    [
      'more sessions than a list may have',
      { t: 'opened', sessions: Array.from({ length: 4097 }, () => session) },
    ],
    [
      'more counters than anybody has',
      { ...heartbeat, counters: Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [`c${i}`, i])) },
    ],
    ['a list for a record', { ...heartbeat, counters: [1, 2] }],
    ['no number', { ...heartbeat, n: 'x' }],
    ['an infinite number', { ...heartbeat, eventLoopDelayMs: Number.POSITIVE_INFINITY }],
    ['nothing', null],
    ['text', 'hello'],
    ['a kind every object has', { t: 'constructor' }],
  ])('refuse %s', (_what, message) => {
    refusalOf(message);
  });

  it('carry no words that could act in a terminal', () => {
    const evil = 'a\u001b[2J\r\n\u202eb\u009b';
    const opened = parseMessage(
      fromEndpointSchema,
      { t: 'opened', sessions: [{ ...session, pinned: evil }] },
      'a',
    );
    expect(opened).toMatchObject({ sessions: [{ pinned: 'a?[2J???b?' }] });
    expect(refusalOf({ t: 'opened', sessions: [{ ...session, id: 'a\u001b[2J' }] })).toContain(
      'sessions.0.id',
    );
    const failure = { code: 'internal', message: 'Grüße aus 東京 🙂' };
    expect(parseMessage(fromEndpointSchema, { t: 'refusal', re: 1, failure }, 'a')).toMatchObject({
      failure,
    });
  });

  it('are refused by place, never by value', () => {
    const said = refusalOf({ t: 'opened', sessions: [{ ...session, id: 7, phase: 'session-bytes' }] });
    expect(said).toContain('sessions.0.id');
    expect(said).not.toContain('session-bytes');
  });

  it('are of one direction', () => {
    expect(() => parseMessage(toEndpointSchema, heartbeat, 'ap')).toThrow(/refused/);
  });
});
