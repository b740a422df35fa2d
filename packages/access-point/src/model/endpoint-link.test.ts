import { RestitchError } from '@restitch/core';
import { fromEndpointSchema, protocolVersion } from '@restitch/wire/internal';
import { describe, expect, it } from 'vitest';
import { EndpointLink, requestSlowly } from './endpoint-link.js';
import type { EndpointEvent } from './endpoint-link.js';
import { FakeLink } from '../testing/fake-link.js';
import { VirtualClock } from '../testing/virtual-clock.js';

function open(): {
  link: EndpointLink;
  wire: FakeLink;
  clock: VirtualClock;
  events: EndpointEvent[];
  ends: unknown[];
} {
  const wire = new FakeLink('a');
  const clock = new VirtualClock();
  const events: EndpointEvent[] = [];
  const ends: unknown[] = [];
  const link = new EndpointLink(wire.channel, clock, {
    onEvent: (event) => void events.push(event),
    onClose: (reason) => void ends.push(reason?.message),
  });
  return { link, wire, clock, events, ends };
}

function say(wire: FakeLink, message: unknown): void {
  wire.toAccessPoint.push(message as never);
  wire.deliverHere();
}

describe('requests', () => {
  it('are numbered, and each answer goes to its own', () => {
    const { link, wire } = open();
    const answers: unknown[] = [];
    link.request({ t: 'revert', moveId: 'm1' }, (data) => void answers.push(['m1', data]));
    link.request({ t: 'revert', moveId: 'm2' }, (data) => void answers.push(['m2', data]));
    expect(wire.toEndpoint.map((m) => ('rq' in m ? m.rq : 0))).toEqual([1, 2]);
    say(wire, { t: 'reply', re: 2, ok: true, data: { wasFrozen: true } });
    say(wire, { t: 'refusal', re: 1, failure: { code: 'session_busy', message: 'at work' } });
    expect(answers[0]).toEqual(['m2', { wasFrozen: true }]);
    expect((answers[1] as [string, RestitchError])[1]).toMatchObject({
      code: 'session_busy',
      message: 'at work',
    });
  });

  it('that are patient go a millisecond later, or with the next that is not', async () => {
    const { link, wire, clock } = open();
    link.requestPatiently({ t: 'release', moveId: 'm1' }, () => undefined);
    expect(wire.toEndpoint).toEqual([]);
    link.request({ t: 'freeze', moveId: 'm2', epoch: 1, budgetMs: 50 }, () => undefined);
    expect(wire.toEndpoint.map((m) => m.t)).toEqual(['release', 'freeze']);
    link.requestPatiently({ t: 'release', moveId: 'm3' }, () => undefined);
    await clock.advance(1);
    expect(wire.toEndpoint.map((m) => m.t)).toEqual(['release', 'freeze', 'release']);
  });

  it('get `lost` when the connection ends, and afterwards, each once and never at once', async () => {
    const { link, wire, ends } = open();
    const answers: unknown[] = [];
    link.request({ t: 'revert', moveId: 'm1' }, (data) => void answers.push(data));
    link.requestPatiently({ t: 'release', moveId: 'm2' }, (data) => void answers.push(data));
    wire.lostHere(new Error('cut'));
    expect(answers).toEqual(['lost', 'lost']);
    link.request({ t: 'revert', moveId: 'm3' }, (data) => void answers.push(data));
    expect(answers.length).toBe(2);
    await Promise.resolve();
    expect(answers).toEqual(['lost', 'lost', 'lost']);
    expect(ends).toEqual(['cut']);
  });

  it('as promises reject with the refusal, the loss or the deadline', async () => {
    const { link, wire, clock } = open();
    const late = requestSlowly(link, { t: 'stats', sessionIds: [] }, clock, 100);
    late.catch(() => undefined);
    await clock.advance(101);
    await expect(late).rejects.toMatchObject({ code: 'deadline_exceeded' });
    const lost = requestSlowly(link, { t: 'stats', sessionIds: [] }, clock, 100);
    lost.catch(() => undefined);
    wire.lostHere();
    await expect(lost).rejects.toMatchObject({ code: 'peer_lost' });
  });
});

describe('the version of an endpoint', () => {
  const hello = {
    t: 'hello',
    name: 'a',
    instance: 'i1',
    app: { name: 'echo', version: '1' },
    stateAddress: { address: '10.0.0.1', port: 7500 },
    dataAddress: '10.0.0.1',
    listeners: [],
    features: [],
  };

  it('that it does not say is 1.0', () => {
    const { wire, events } = open();
    say(wire, hello);
    expect(events).toEqual([{ ...hello, protocol: { major: 1, minor: 0 } }]);
  });

  it('may be a newer minor, with keys nobody knows yet', () => {
    const { link, wire, events } = open();
    const protocol = { major: 1, minor: 99 };
    say(wire, { ...hello, protocol, later: true });
    expect(link.isClosed).toBe(false);
    expect(events).toEqual([{ ...hello, protocol }]);
  });

  it('of another major is refused by name, whatever the rest of its hello is, and told ours', () => {
    const { link, wire, ends } = open();
    say(wire, { t: 'hello', protocol: { major: 2, minor: 1 }, shape: 'of another time' });
    expect(link.isClosed).toBe(true);
    expect(ends).toEqual([expect.stringMatching(/^a speaks protocol 2\.1, this build 1\.\d+: update/)]);
    expect(wire.toEndpoint).toEqual([{ t: 'welcome', protocol: protocolVersion }]);
  });

  it('is asked of agents, too', () => {
    const { wire, ends } = open();
    say(wire, { t: 'agent-hello', protocol: { major: 0, minor: 9 }, name: 'a' });
    expect(ends).toEqual([expect.stringContaining('speaks protocol 0.9')]);
  });
});

describe('what comes in', () => {
  it('counts as a sign of life', async () => {
    const { link, wire, clock, events } = open();
    await clock.advance(500);
    say(wire, { t: 'heartbeat', n: 1, sessions: 0, eventLoopDelayMs: 0 });
    expect(link.lastHeardMs).toBe(clock.monotonicMs());
    expect(events.length).toBe(1);
  });

  it.each([
    ['an answer to nothing', { t: 'reply', re: 9, ok: true, data: {} }],
    ['an answer twice', { t: 'reply', re: 1, ok: true, data: {} }],
    ['a reply with a number that is none', { t: 'reply', re: 'x', ok: true, data: {} }],
    ['a reply with a list for data', { t: 'reply', re: 1, ok: true, data: [] }],
    ['a reply to another question', { t: 'reply', re: 1, ok: true, data: { owned: [true] } }],
    ['a reply that is not ok', { t: 'reply', re: 1, ok: false, data: {} }],
    ['no message at all', null],
    ['an unknown kind', { t: 'dance' }],
  ])('%s closes the connection', (what, message) => {
    const { link, wire } = open();
    link.request({ t: 'revert', moveId: 'm' }, () => undefined);
    if (what === 'an answer twice') say(wire, message);
    say(wire, message);
    expect(link.isClosed).toBe(true);
  });

  it('is what the schema says where it is checked by hand', () => {
    const reply = { t: 'reply', re: 1, ok: true, data: { a: 1 } };
    expect(fromEndpointSchema.safeParse(reply).success).toBe(true);
  });
});
