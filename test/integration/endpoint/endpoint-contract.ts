/** What an endpoint process promises its access point, for every implementation: requests by step, refusals, lost connections. */
import type { FromEndpoint, SessionReport, ToEndpoint } from '@restitch/wire/internal';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Data, WithoutNumber } from './fake-access-point.js';
import { codeOf, until } from './streams.js';

/** One of two endpoints. */
export type Party = 'a' | 'b';
type Request = WithoutNumber<ToEndpoint>;

/** Two endpoints of one application at one access point, which does only what a test says. */
export interface EndpointStage {
  readonly app: { readonly name: string; readonly version: string };
  readonly listener: string;
  /** A client connects to a, which says so. */
  open(): Promise<SessionReport>;
  /** The client closes. */
  leave(report: SessionReport): void;
  /** Its application ends it while the client reads nothing. */
  end(report: SessionReport): Promise<void>;
  /** Where an endpoint takes images. */
  stateAddress(at: Party): { readonly address: string; readonly port: number };
  /** Resolves with the data of the reply, rejects with the refusal. */
  ask(at: Party, request: Request): Promise<Data>;
  /** What an endpoint has said since it connected, in order and without heartbeats. */
  heard(at: Party): readonly FromEndpoint[];
  /** Packets of clients go there: the record says so. */
  steer(to: Party): void;
  /** The control connection is lost and stands again; resolves when all is announced. */
  reconnect(at: Party): Promise<void>;
  pin(report: SessionReport, isPinned: boolean): Promise<void>;
  /** The application has, or has no more, a request of the session in hand. */
  busy(report: SessionReport, isBusy: boolean): Promise<void>;
  /** Where a process holds the session as one that it serves. */
  liveAt(report: SessionReport): Promise<Party[]>;
}

/** Runs the promises against a stage; `setUp` is called once. */
export function endpointContract(setUp: () => Promise<EndpointStage>): void {
  let stage: EndpointStage;
  let report: SessionReport;
  let moveId: string;
  let moves = 0;

  beforeAll(async () => {
    stage = await setUp();
  }, 60_000);
  afterEach(async () => {
    stage.steer('a');
    for (const at of ['a', 'b'] as const) await stage.ask(at, { t: 'abort', moveId }).catch(() => undefined);
    await stage.ask('a', { t: 'revert', moveId }).catch(() => undefined);
    for (const at of ['a', 'b'] as const) await stage.ask(at, { t: 'reset', sessionIds: [report.id] });
    stage.leave(report);
  });

  async function open(): Promise<void> {
    moveId = `contract-${++moves}`;
    report = await stage.open();
  }
  const ask = (at: Party, request: Request): Promise<Data> => stage.ask(at, request);
  const refusal = (at: Party, request: Request): Promise<string> => codeOf(ask(at, request));
  /** The epoch of the next owner. */
  const next = (): number => report.epoch + 1;

  const reserve = (more: object = {}): Request => ({
    t: 'reserve',
    moveId,
    sessionId: report.id,
    flow: report.flow,
    epoch: next(),
    source: 'a',
    app: stage.app,
    listener: stage.listener,
    expiresMs: 30_000,
    ...more,
  });
  const prepare = (more: object = {}): Request => ({
    t: 'prepare',
    moveId,
    sessionId: report.id,
    target: { name: 'b', address: stage.stateAddress('b') },
    budgetMs: 2000,
    ...more,
  });
  const freeze = (epoch = next()): Request => ({ t: 'freeze', moveId, epoch, budgetMs: 1000 });
  const activate = (epoch = next()): Request => ({ t: 'activate', moveId, epoch });
  const revert = (): Request => ({ t: 'revert', moveId });
  const release = (): Request => ({ t: 'release', moveId });
  const abort = (): Request => ({ t: 'abort', moveId });

  /** Events about this move or this session, replies left out. */
  function about(at: Party, t: FromEndpoint['t']): FromEndpoint[] {
    return stage.heard(at).filter((message) => {
      if (message.t !== t) return false;
      if ('moveId' in message) return message.moveId === moveId;
      return (
        !('sessions' in message) || (message.sessions as SessionReport[]).some((s) => s.id === report.id)
      );
    });
  }
  async function told(at: Party, t: FromEndpoint['t']): Promise<FromEndpoint> {
    await until(() => about(at, t).length > 0);
    return about(at, t)[0] as FromEndpoint;
  }
  /** How an endpoint that has just connected says the session stands. */
  function announced(at: Party): SessionReport | undefined {
    return stage
      .heard(at)
      .flatMap((message) => (message.t === 'announce' ? message.sessions : []))
      .find((session) => session.id === report.id);
  }
  const steps = { reserve, prepare, freeze, activate } as const;
  /** Brings the move to the end of a step. */
  async function upTo(last: keyof typeof steps): Promise<void> {
    await ask('b', reserve());
    if (last === 'reserve') return;
    await ask('a', prepare());
    if (last === 'prepare') return;
    await ask('a', freeze());
    await told('b', 'thawed');
    if (last === 'freeze') return;
    stage.steer('b');
    await ask('b', activate());
  }
  const liveAt = (): Promise<Party[]> => stage.liveAt(report);
  async function untilLiveAt(...parties: Party[]): Promise<void> {
    await until(async () => (await liveAt()).join() === parties.join());
  }

  describe('a move', () => {
    it('is answered step by step, and at each step one process serves or none', async () => {
      await open();
      expect(await liveAt()).toEqual(['a']);
      expect(await ask('b', reserve())).toEqual({ features: expect.any(Array) as unknown });
      expect(await ask('a', prepare())).toEqual({});
      expect(await liveAt()).toEqual(['a']);
      const frozen = await ask('a', freeze());
      expect(frozen).toMatchObject({
        imageBytes: expect.any(Number) as unknown,
        freezeUs: expect.any(Number) as unknown,
      });
      expect(await told('b', 'thawed')).toEqual({
        t: 'thawed',
        moveId,
        thawUs: expect.any(Number) as unknown,
      });
      expect(await liveAt()).toEqual([]);
      stage.steer('b');
      await ask('b', activate());
      expect(await told('b', 'confirmed')).toEqual({
        t: 'confirmed',
        moveId,
        serverRtos: expect.any(Number) as unknown,
      });
      expect(await liveAt()).toEqual(['b']);
      expect(await ask('a', release())).toEqual({});
      expect(await liveAt()).toEqual(['b']);
      expect(await ask('a', { t: 'query', flows: [report.flow] })).toEqual({ owned: [false] });
      expect(await ask('b', { t: 'query', flows: [report.flow] })).toEqual({ owned: [true] });
      // It has neither ended at the source nor begun at the target.
      expect([about('a', 'ended'), about('b', 'opened')]).toEqual([[], []]);
    });

    it('is confirmed after the answer to its activation', async () => {
      await open();
      await upTo('activate');
      await told('b', 'confirmed');
      const heard = stage.heard('b');
      const confirmed = heard.findIndex((m) => m.t === 'confirmed' && m.moveId === moveId);
      const thawed = heard.findIndex((m) => m.t === 'thawed' && m.moveId === moveId);
      const between = heard.slice(thawed, confirmed).filter((m) => m.t === 'reply');
      expect(between.length).toBe(1);
    });

    it('of a session that its application has ended carries on where that stood', async () => {
      await open();
      await stage.end(report);
      const closing = await told('a', 'closing');
      const { sessions } = closing as Extract<FromEndpoint, { t: 'closing' }>;
      const mine = sessions.find((s) => s.id === report.id);
      expect(mine).toMatchObject({ epoch: report.epoch, closing: { finisher: 'kernel' } });
      expect(mine?.closing.tailBytes).toBeGreaterThan(0);
      const owed = await ask('a', { t: 'residue' });
      expect(owed['sockets']).toBe(1);
      expect(owed['bytes']).toBeGreaterThan(0);
      await stage.reconnect('a');
      expect(announced('a')).toMatchObject({ phase: 'closing', closing: { finisher: 'kernel' } });
      await ask('b', reserve({ isClosing: true }));
      await ask('a', prepare());
      await ask('a', freeze());
      await told('b', 'thawed');
      stage.steer('b');
      await ask('b', activate());
      await ask('a', release());
      await stage.reconnect('b');
      expect(announced('b')).toMatchObject({ phase: 'closing', epoch: next() });
    });
  });

  describe('reserve', () => {
    it('is refused a second time, to an unknown listener and to another application', async () => {
      await open();
      expect(await refusal('b', reserve({ listener: 'nothing' }))).toBe('app_refused');
      expect(await refusal('b', reserve({ app: { ...stage.app, version: 'other' } }))).toBe('app_refused');
      await ask('b', reserve());
      expect(await refusal('b', reserve())).toBe('message_invalid');
    });

    it('at whoever serves the session is stale, or refused under a higher epoch', async () => {
      await open();
      expect(await refusal('a', reserve({ epoch: report.epoch }))).toBe('stale_epoch');
      expect(await refusal('a', reserve())).toBe('session_moving');
    });

    it('is stale under an epoch that is not above the one with which the session left', async () => {
      await open();
      await upTo('activate');
      await ask('a', release());
      expect(await refusal('a', reserve({ moveId: `${moveId}-2`, epoch: next() }))).toBe('stale_epoch');
      expect(await codeOf(ask('a', reserve({ moveId: `${moveId}-3`, epoch: next() + 1 })))).toBe('resolved');
      await ask('a', { t: 'abort', moveId: `${moveId}-3` });
    });
  });

  describe('prepare', () => {
    it('is refused of an unknown session, and of a pinned one unless it is forced', async () => {
      await open();
      expect(await refusal('a', prepare({ sessionId: 'nobody' }))).toBe('unknown_session');
      await stage.pin(report, true);
      expect(await refusal('a', prepare())).toBe('session_pinned');
      expect(await ask('a', prepare({ force: true }))).toEqual({});
      await ask('a', revert());
      await stage.pin(report, false);
      expect(await ask('a', prepare())).toEqual({});
    });

    it('of the same move is answered again, of another one refused, also once the session is frozen', async () => {
      await open();
      await upTo('prepare');
      expect(await ask('a', prepare())).toEqual({});
      expect(await refusal('a', prepare({ moveId: `${moveId}-2` }))).toBe('session_moving');
      await ask('a', freeze());
      expect(await refusal('a', prepare({ moveId: `${moveId}-2` }))).toBe('session_moving');
      expect(await refusal('a', prepare())).toBe('message_invalid');
    });
  });

  describe('freeze', () => {
    it('is refused of what was not prepared', async () => {
      await open();
      expect(await refusal('a', freeze())).toBe('message_invalid');
      expect(await liveAt()).toEqual(['a']);
    });

    it('under an epoch that is not higher, or in the middle of a request, leaves the move prepared', async () => {
      await open();
      await upTo('prepare');
      expect(await refusal('a', freeze(report.epoch))).toBe('stale_epoch');
      await stage.busy(report, true);
      expect(await refusal('a', freeze())).toBe('session_busy');
      expect(await liveAt()).toEqual(['a']);
      await stage.busy(report, false);
      expect(await codeOf(ask('a', freeze()))).toBe('resolved');
      expect(await refusal('a', freeze())).toBe('message_invalid');
      expect(await liveAt()).toEqual([]);
    });

    it('of a session that has ended says so', async () => {
      await open();
      await upTo('prepare');
      stage.leave(report);
      const ended = (await told('a', 'ended')) as Extract<FromEndpoint, { t: 'ended' }>;
      expect(ended.sessions).toContainEqual(
        expect.objectContaining({ id: report.id, flow: report.flow, epoch: report.epoch }),
      );
      expect(await refusal('a', freeze())).toBe('unknown_session');
    });

    it('with an image that the target does not take: the target says so, and the source serves on', async () => {
      await open();
      const { client, vip } = report.flow;
      await ask('b', reserve({ flow: { vip, client: { ...client, port: client.port ^ 1 } } }));
      await ask('a', prepare());
      await ask('a', freeze());
      const failed = (await told('b', 'thaw-failed')) as Extract<FromEndpoint, { t: 'thaw-failed' }>;
      expect(failed.failure.code).toBe('forbidden');
      expect(await refusal('b', activate())).toBe('message_invalid');
      expect(await ask('a', revert())).toEqual({ wasFrozen: true });
      await untilLiveAt('a');
      expect(about('b', 'thawed')).toEqual([]);
    });
  });

  describe('activate', () => {
    it('is refused where nothing was thawed, and under another epoch than the reserved one', async () => {
      await open();
      expect(await refusal('b', activate())).toBe('message_invalid');
      await upTo('reserve');
      expect(await refusal('b', activate())).toBe('message_invalid');
      await ask('a', prepare());
      await ask('a', freeze());
      await told('b', 'thawed');
      expect(await refusal('b', activate(next() + 1))).toBe('stale_epoch');
      expect(await liveAt()).toEqual([]);
      stage.steer('b');
      await ask('b', activate());
      await untilLiveAt('b');
    });

    it('is answered again, and cannot be aborted any more', async () => {
      await open();
      await upTo('activate');
      expect(await ask('b', activate())).toEqual({});
      expect(await refusal('b', abort())).toBe('message_invalid');
      await untilLiveAt('b');
    });
  });

  describe('abort', () => {
    it('is answered whatever there is', async () => {
      await open();
      expect(await ask('b', abort())).toEqual({});
      moveId = `${moveId}-2`;
      await upTo('freeze');
      expect(await ask('b', abort())).toEqual({});
      expect(await refusal('b', activate())).toBe('message_invalid');
      await stage.reconnect('b');
      expect(announced('b')).toBeUndefined();
    });

    it('of a reservation: the image that comes later harms nobody', async () => {
      await open();
      await upTo('prepare');
      await ask('b', abort());
      await ask('a', freeze());
      expect(await ask('a', revert())).toEqual({ wasFrozen: true });
      await untilLiveAt('a');
      expect([about('b', 'thawed'), about('b', 'thaw-failed')]).toEqual([[], []]);
    });
  });

  describe('revert', () => {
    it('of what is not under way here is answered, and calls off what is only prepared', async () => {
      await open();
      expect(await ask('a', revert())).toEqual({ wasFrozen: false });
      await upTo('prepare');
      expect(await ask('a', revert())).toEqual({ wasFrozen: false });
      expect(await refusal('a', freeze())).toBe('message_invalid');
      expect(await liveAt()).toEqual(['a']);
    });

    it('of a frozen session serves it on, once, and it can be moved again under the next epoch', async () => {
      await open();
      await upTo('freeze');
      expect(await ask('a', revert())).toEqual({ wasFrozen: true });
      await untilLiveAt('a');
      expect(await ask('a', revert())).toEqual({ wasFrozen: false });
      expect(await refusal('a', release())).toBe('message_invalid');
      await ask('b', abort());
      report = { ...report, epoch: report.epoch + 1 };
      moveId = `${moveId}-2`;
      await upTo('activate');
      await untilLiveAt('b');
    });

    it('after the release is stale: the session is gone', async () => {
      await open();
      await upTo('activate');
      await ask('a', release());
      expect(await refusal('a', revert())).toBe('stale_epoch');
    });

    it('tells the end of a client that has left while the session was frozen', async () => {
      await open();
      await upTo('freeze');
      stage.leave(report);
      expect(about('a', 'ended')).toEqual([]);
      await ask('b', abort());
      await ask('a', revert());
      await told('a', 'ended');
      expect(await liveAt()).toEqual([]);
    });
  });

  describe('release', () => {
    it('is refused of what is not frozen, and answered again', async () => {
      await open();
      expect(await refusal('a', release())).toBe('message_invalid');
      await upTo('prepare');
      expect(await refusal('a', release())).toBe('message_invalid');
      await ask('a', freeze());
      await told('b', 'thawed');
      stage.steer('b');
      await ask('b', activate());
      expect(await ask('a', release())).toEqual({});
      expect(await ask('a', release())).toEqual({});
    });
  });

  describe('reset', () => {
    it('ends what is live, and not what is frozen', async () => {
      await open();
      const reset: Request = { t: 'reset', sessionIds: [report.id, 'nobody'] };
      await upTo('freeze');
      expect(await ask('a', reset)).toEqual({ reset: 0 });
      await ask('b', abort());
      await ask('a', revert());
      expect(await ask('a', reset)).toEqual({ reset: 1 });
      await told('a', 'ended');
      expect(await liveAt()).toEqual([]);
    });
  });

  it('an endpoint without crash protection keeps no replicas', async () => {
    await open();
    expect(await refusal('a', { t: 'replicas' })).toBe('forbidden');
  });

  describe('a connection that is lost and stands again', () => {
    it('begins with hello and all sessions', async () => {
      await open();
      await stage.reconnect('a');
      const [first, second] = stage.heard('a');
      expect([first?.t, second?.t]).toEqual(['hello', 'announce']);
      expect(stage.heard('a').filter((m) => m.t === 'announce' && m.last).length).toBe(1);
      expect(announced('a')).toMatchObject({ flow: report.flow, epoch: report.epoch, phase: 'live' });
      expect(announced('a')?.moveId).toBeUndefined();
    });

    it('at the target after the reservation: the place is kept', async () => {
      await open();
      await upTo('reserve');
      await stage.reconnect('b');
      expect(announced('b')).toBeUndefined();
      await ask('a', prepare());
      await ask('a', freeze());
      await told('b', 'thawed');
    });

    it('at the source before the freeze: the move is called off, the session served', async () => {
      await open();
      await upTo('prepare');
      await stage.reconnect('a');
      expect(announced('a')).toMatchObject({ phase: 'live', epoch: report.epoch });
      expect(await refusal('a', freeze())).toBe('message_invalid');
      await untilLiveAt('a');
    });

    it('at both after the freeze: both copies wait, and are undone', async () => {
      await open();
      await upTo('freeze');
      await stage.reconnect('a');
      await stage.reconnect('b');
      expect(announced('a')).toMatchObject({ phase: 'frozen', moveId, epoch: report.epoch });
      expect(announced('b')).toMatchObject({ phase: 'pending', moveId, epoch: next() });
      expect(await liveAt()).toEqual([]);
      expect(await ask('b', { t: 'query', flows: [report.flow] })).toEqual({ owned: [true] });
      await ask('b', abort());
      expect(await ask('a', revert())).toEqual({ wasFrozen: true });
      await untilLiveAt('a');
    });

    it('at both after the freeze: both copies wait, and are carried through', async () => {
      await open();
      await upTo('freeze');
      await stage.reconnect('a');
      await stage.reconnect('b');
      stage.steer('b');
      await ask('b', activate());
      expect(await ask('a', release())).toEqual({});
      await untilLiveAt('b');
    });

    it('at both after the activation: the target serves, the source waits for its release', async () => {
      await open();
      await upTo('activate');
      await stage.reconnect('a');
      await stage.reconnect('b');
      expect(announced('a')).toMatchObject({ phase: 'frozen', moveId, epoch: report.epoch });
      expect(announced('b')).toMatchObject({ phase: 'live', epoch: next() });
      expect(await ask('b', activate())).toEqual({});
      expect(await ask('a', release())).toEqual({});
      await stage.reconnect('a');
      expect(announced('a')).toBeUndefined();
      await untilLiveAt('b');
    });
  });
}
