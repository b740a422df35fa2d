import { describe, expect, it } from 'vitest';
import { parseMessage } from '../codec/parse-message.js';
import { decodePlain, encodePlain } from '../codec/plain-codec.js';
import { fromEndpointSchema } from './messages.js';
import { readTelemetry, type TelemetryMessage } from './telemetry.js';

const message = (metrics: object, sessions: readonly unknown[] = []): TelemetryMessage =>
  parseMessage(
    fromEndpointSchema,
    decodePlain(encodePlain({ t: 'telemetry', atMs: 5, seq: 1, total: 3, metrics, sessions })),
    'a',
  ) as TelemetryMessage;

describe('telemetry', () => {
  it('passes the codec and the schema as it was measured', () => {
    const read = readTelemetry(message({ cpuRatio: 0.5, sessions: 0 }, [['s1', 0, 1000, 2, 10, 20]]));
    expect(read).toEqual({
      atMs: 5,
      seq: 1,
      total: 3,
      metrics: { cpuRatio: 0.5, sessions: 0 },
      sessions: [{ id: 's1', ageMs: 0, periodMs: 1000, requests: 2, bytesIn: 10, bytesOut: 20 }],
      refused: 0,
    });
  });

  it.each([
    ['NaN', Number.NaN],
    ['negative', -0.1],
    ['infinite', Number.POSITIVE_INFINITY],
    ['beyond any machine', 1e6],
    ['text', '0.5'],
    ['null', null],
  ])('leaves out a figure that is %s, never as 0, and keeps the rest', (_, value) => {
    const read = readTelemetry(message({ cpuRatio: value, memoryRatio: 0.25 }));
    expect(read.metrics).toEqual({ memoryRatio: 0.25 });
    expect(read.refused).toBe(1);
  });

  it.each([
    ['a NaN count', ['s', 0, 1000, Number.NaN, 0, 0]],
    ['negative bytes', ['s', 0, 1000, 1, -1, 0]],
    ['a period of nothing', ['s', 0, 0, 1, 1, 1]],
    ['an id that acts in a terminal', ['s\u001b[2J', 0, 1000, 1, 1, 1]],
    ['too few columns', ['s', 0, 1000]],
    ['no row', 'text'],
  ])('leaves out a row with %s and keeps its neighbours', (_, row) => {
    const good = ['good', 0, 1000, 1, 1, 1];
    const read = readTelemetry(message({}, [row, good]));
    expect(read.sessions.map((s) => s.id)).toEqual(['good']);
    expect(read.refused).toBe(1);
  });

  it.each([
    ['more rows than a message may have', { sessions: Array.from({ length: 4097 }, () => 0) }],
    [
      'more metrics than anybody has',
      { metrics: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [i, 1])) },
    ],
    ['a clock that is no number', { atMs: Number.NaN }],
    ['a number that is none', { seq: 0 }],
  ])('is refused whole with %s', (_, part) => {
    const whole = { t: 'telemetry', atMs: 5, seq: 1, total: 0, metrics: {}, sessions: [], ...part };
    expect(() => parseMessage(fromEndpointSchema, whole, 'a')).toThrow(/telemetry|message from a refused/);
  });
});
