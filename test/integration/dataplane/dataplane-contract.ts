/** What records, packets and changes promise, for every implementation of the data plane's contract. */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '@restitch/core';
import type { Flow } from '@restitch/core';
import type { Dataplane, FlowChange, FlowChangeResult, FlowPhase } from '@restitch/dataplane';

/** Where a client's packet went: to an endpoint, or what became of it. */
export type PacketFate = number | 'kept' | 'dropped' | 'to the host';

/** A data plane by the machine's clock, with endpoints 1 and 2 and room for `maxFlows`. */
export interface DataplaneStage {
  readonly dataplane: Dataplane;
  readonly maxFlows: number;
  /**
   * A client's packet after its SYN. One that is to be kept is lost on its way: it is counted and never comes, which is what
   * makes a release last.
   */
  readonly packet: (flow: Flow, isReset?: boolean) => PacketFate;
  /** The endpoint that a SYN of this flow is sent to. */
  readonly syn: (flow: Flow) => number | undefined;
}

const service = { address: '10.77.0.100', port: 7000 };
const ops = ['claim', 'hold', 'freeze', 'switch', 'release', 'close', 'remove'] as const;
const phases = ['active', 'hold', 'frozen', 'releasing', 'closing'] as const;
type Op = (typeof ops)[number];

/** The phase afterwards, if the change goes through; else its answer. The record has owner 1 and epoch 5, the change epoch 5. */
const table: Record<Op, Record<FlowPhase, FlowPhase | 'gone' | 'refused'>> = {
  claim: { active: 'active', hold: 'hold', frozen: 'frozen', releasing: 'releasing', closing: 'active' },
  hold: { active: 'hold', hold: 'hold', frozen: 'refused', releasing: 'refused', closing: 'refused' },
  freeze: { active: 'frozen', hold: 'frozen', frozen: 'frozen', releasing: 'refused', closing: 'refused' },
  switch: { active: 'refused', hold: 'hold', frozen: 'frozen', releasing: 'refused', closing: 'refused' },
  release: { active: 'active', hold: 'active', frozen: 'active', releasing: 'releasing', closing: 'refused' },
  close: { active: 'closing', hold: 'closing', frozen: 'closing', releasing: 'closing', closing: 'closing' },
  remove: { active: 'gone', hold: 'gone', frozen: 'gone', releasing: 'gone', closing: 'gone' },
};
const rows = ops.flatMap((op) => phases.map((phase) => ({ op, phase, expected: table[op][phase] })));

/** A release waits at most so long for packets that never come. */
const releaseMs = 50;
/** The same with what a busy machine may add. */
const releasedMs = 150;

/** Runs the promises against a stage; `setUp` is called once. */
export function dataplaneContract(setUp: () => DataplaneStage): void {
  let stage: DataplaneStage;
  let nextPort = 20_000;
  const newFlow = (): Flow => ({ client: { address: '10.77.0.2', port: nextPort++ }, vip: service });
  const soon = (): bigint => systemClock.monotonicNs() + 60_000_000_000n;
  const past = (): bigint => systemClock.monotonicNs() - 1_000_000_000n;
  const apply = (...changes: FlowChange[]): FlowChangeResult[] => stage.dataplane.apply(changes);
  const phaseOf = (flow: Flow): FlowPhase | undefined => stage.dataplane.lookup(flow)?.phase;
  const pause = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));

  const claim = (epoch = 5, endpointId = 1): Flow => {
    const flow = newFlow();
    expect(apply({ op: 'claim', flow, endpointId, epoch })).toEqual(['ok']);
    return flow;
  };
  /** `op` as a move or a take-over would give it to a flow of epoch 5. */
  const changeTo = (op: Op, flow: Flow): FlowChange => {
    if (op === 'claim') return { op, flow, endpointId: 1, epoch: 5 };
    if (op === 'hold' || op === 'freeze') return { op, flow, epoch: 5, deadlineNs: soon() };
    if (op === 'switch') return { op, flow, epoch: 5, endpointId: 2, newEpoch: 6 };
    return op === 'close' ? { op, flow, epoch: 5, lingerMs: 60_000 } : { op, flow, epoch: 5 };
  };
  /** What brings a flow of epoch 5 into a phase; a packet is lost before `releasing`. */
  const stepsTo = (phase: FlowPhase, flow: Flow): FlowChange[] => {
    if (phase === 'active') return [];
    if (phase === 'closing') return [changeTo('close', flow)];
    const steps = [changeTo(phase === 'hold' ? 'hold' : 'freeze', flow)];
    if (phase !== 'releasing') return steps;
    apply(...steps);
    expect(stage.packet(flow)).toBe('kept');
    return [changeTo('release', flow)];
  };

  beforeAll(() => {
    stage = setUp();
  });
  beforeEach(() => {
    stage.dataplane.setRebuilding(false);
    stage.dataplane.setServices([{ ...service, backends: [{ endpointId: 1, weight: 1 }] }]);
  });

  describe('changes by phase', () => {
    it.each(rows)('$op in $phase: $expected', ({ op, phase, expected }) => {
      const flow = claim();
      const steps = stepsTo(phase, flow);
      const beganMs = systemClock.monotonicMs();
      // In one call, so that a release lasts until the change comes.
      const results = apply(...steps, changeTo(op, flow));
      const after = stage.dataplane.lookup(flow);
      const isInTime = systemClock.monotonicMs() - beganMs < releaseMs;
      expect(results).toEqual([...steps.map(() => 'ok'), expected === 'refused' ? 'phase' : 'ok']);
      const wanted = expected === 'refused' ? phase : expected;
      if (wanted !== 'releasing' || isInTime) expect(after?.phase ?? 'gone').toBe(wanted);
      if (expected === 'gone') return;
      const isSwitched = op === 'switch' && expected !== 'refused';
      expect(after).toMatchObject(isSwitched ? { endpointId: 2, epoch: 6 } : { endpointId: 1, epoch: 5 });
    });

    it.each(ops.slice(1))('%s with another epoch is stale, on an unknown flow absent', (op) => {
      const flow = claim(4);
      apply({ op: 'hold', flow, epoch: 4, deadlineNs: soon() });
      expect(apply(changeTo(op, flow))).toEqual(['stale']);
      expect(stage.dataplane.lookup(flow)).toMatchObject({ phase: 'hold', endpointId: 1, epoch: 4 });
      expect(apply(changeTo(op, newFlow()))).toEqual(['absent']);
    });

    it('a switch goes to a higher epoch or nowhere, in whatever phase', () => {
      for (const phase of ['active', 'hold'] as const) {
        const flow = claim();
        apply(...stepsTo(phase, flow), { op: 'switch', flow, epoch: 5, endpointId: 2, newEpoch: 5 });
        expect(apply({ op: 'switch', flow, epoch: 5, endpointId: 2, newEpoch: 5 })).toEqual(['stale']);
        expect(stage.dataplane.lookup(flow)).toMatchObject({ endpointId: 1, epoch: 5 });
      }
    });
  });

  describe('a release', () => {
    it('of a flow of which nothing is kept is over at once', () => {
      for (const phase of ['hold', 'frozen'] as const) {
        const flow = claim();
        apply(...stepsTo(phase, flow));
        expect(apply(changeTo('release', flow), changeTo('hold', flow))).toEqual(['ok', 'ok']);
      }
    });

    it('that waits for a packet refuses what begins a move, and keeps packets, for 50 ms and no longer', async () => {
      const flow = claim();
      const steps = stepsTo('releasing', flow);
      const beganMs = systemClock.monotonicMs();
      const results = apply(
        ...steps,
        changeTo('hold', flow),
        changeTo('freeze', flow),
        changeTo('switch', flow),
      );
      expect(results).toEqual(['ok', 'phase', 'phase', 'phase']);
      const fate = stage.packet(flow);
      const phase = phaseOf(flow);
      if (systemClock.monotonicMs() - beganMs < releaseMs)
        expect([fate, phase]).toEqual(['kept', 'releasing']);
      await pause(releasedMs);
      expect(phaseOf(flow)).toBe('active');
      expect(stage.packet(flow)).toBe(1);
      expect(apply(changeTo('hold', flow))).toEqual(['ok']);
    });

    it('begins its 50 ms anew when it is said again', async () => {
      const flow = claim();
      apply(...stepsTo('releasing', flow));
      await pause(releaseMs - 20);
      const beganMs = systemClock.monotonicMs();
      if (phaseOf(flow) !== 'releasing') return;
      apply(changeTo('release', flow));
      await pause(30);
      const results = apply(changeTo('hold', flow));
      if (systemClock.monotonicMs() - beganMs < releaseMs) expect(results).toEqual(['phase']);
      await pause(releasedMs);
      expect(phaseOf(flow)).toBe(results[0] === 'ok' ? 'hold' : 'active');
    });

    it('is done with what was lost: the next one is over at once', async () => {
      const flow = claim();
      apply(...stepsTo('releasing', flow));
      await pause(releasedMs);
      apply(changeTo('hold', flow));
      expect(apply(changeTo('release', flow), changeTo('hold', flow))).toEqual(['ok', 'ok']);
    });
  });

  describe('a claim', () => {
    it.each([
      ['its owner, an older epoch', 'active', 4, 1, 'stale'],
      ['another, the same epoch', 'active', 5, 2, 'stale'],
      ['another, a higher epoch', 'active', 6, 2, 'ok'],
      ['another, a higher epoch, in the middle of a move', 'frozen', 6, 2, 'ok'],
      ['its owner, the next session', 'closing', 0, 1, 'ok'],
      ['another, on a closing flow', 'closing', 0, 2, 'stale'],
      ['another, a higher epoch on a closing flow', 'closing', 6, 2, 'ok'],
    ] as const)('by %s', (_what, phase, epoch, endpointId, expected) => {
      const flow = claim();
      apply(...stepsTo(phase, flow));
      expect(apply({ op: 'claim', flow, endpointId, epoch })).toEqual([expected]);
      const after =
        expected === 'ok' ? { endpointId, epoch, phase: 'active' } : { endpointId: 1, epoch: 5, phase };
      expect(stage.dataplane.lookup(flow)).toMatchObject(after);
    });

    it('leaves counters and what the client has said; a flow that was removed begins anew', () => {
      const flow = claim();
      for (let i = 0; i < 3; i++) expect(stage.packet(flow, i === 1)).toBe(1);
      const before = stage.dataplane.lookup(flow);
      expect(before).toMatchObject({ packets: 3n, sawReset: true });
      apply({ op: 'claim', flow, endpointId: 2, epoch: 6 });
      expect(stage.dataplane.lookup(flow)).toEqual({ ...before, endpointId: 2, epoch: 6 });
      apply({ op: 'remove', flow, epoch: 6 });
      apply({ op: 'claim', flow, endpointId: 2, epoch: 0 });
      expect(stage.dataplane.lookup(flow)).toMatchObject({ packets: 0n, bytes: 0n, sawReset: false });
    });

    it('finds no room when there are as many flows as there may be', () => {
      const { dataplane, maxFlows } = stage;
      const before = dataplane.stats().flows;
      expect(before).toBe(dataplane.list().length);
      const flows = Array.from({ length: maxFlows - before }, newFlow);
      const claims = flows.map((flow) => ({ op: 'claim', flow, endpointId: 2, epoch: 0 }) as const);
      expect(new Set(apply(...claims))).toEqual(new Set(['ok']));
      expect(apply({ op: 'claim', flow: newFlow(), endpointId: 2, epoch: 0 })).toEqual(['full']);
      expect(apply(claims[0] as FlowChange)).toEqual(['ok']);
      expect(dataplane.stats().flows).toBe(maxFlows);
      apply(...flows.map((flow) => ({ op: 'remove', flow, epoch: 0 }) as const));
      expect(dataplane.stats().flows).toBe(before);
    });
  });

  describe('packets', () => {
    it('go to the owner of the record, whatever serves', () => {
      const flow = claim(0, 2);
      expect(stage.packet(flow)).toBe(2);
      stage.dataplane.setServices([{ ...service, backends: [] }]);
      expect(stage.packet(flow)).toBe(2);
    });

    it('are kept in hold and frozen, and after a deadline go to the owner or are dropped', () => {
      const flow = claim();
      apply(changeTo('hold', flow));
      expect(stage.packet(flow)).toBe('kept');
      const late = claim();
      apply({ op: 'hold', flow: late, epoch: 5, deadlineNs: past() });
      expect(stage.packet(late)).toBe(1);
      const frozen = claim();
      apply(changeTo('freeze', frozen));
      expect(stage.packet(frozen)).toBe('kept');
      apply({ op: 'freeze', flow: frozen, epoch: 5, deadlineNs: past() });
      expect(stage.packet(frozen)).toBe('dropped');
    });

    it('count as seen when they are forwarded, a reset also when it is kept', () => {
      const flow = claim();
      const beganNs = systemClock.monotonicNs() - 10_000_000n;
      apply(changeTo('hold', flow));
      const before = stage.dataplane.lookup(flow);
      stage.packet(flow, true);
      expect(stage.dataplane.lookup(flow)).toEqual({ ...before, sawReset: true });
      const active = claim();
      stage.packet(active);
      expect(stage.dataplane.lookup(active)?.lastSeenNs).toBeGreaterThan(beganNs);
    });

    it('of a closing flow go to its owner for as long as it lingers, then it is forgotten', async () => {
      const flow = claim();
      apply({ op: 'close', flow, epoch: 5, lingerMs: 300 });
      expect(stage.packet(flow)).toBe(1);
      const silent = claim();
      const again = claim();
      apply(
        { op: 'close', flow: silent, epoch: 5, lingerMs: 300 },
        { op: 'close', flow: again, epoch: 5, lingerMs: 300 },
      );
      apply({ op: 'claim', flow: again, endpointId: 1, epoch: 0 });
      await pause(400);
      stage.dataplane.setServices([]);
      expect(stage.packet(flow)).toBe('to the host');
      expect(stage.dataplane.lookup(flow)).toBeUndefined();
      await pause(2200);
      expect(stage.dataplane.lookup(silent)).toBeUndefined();
      expect(stage.dataplane.lookup(again)).toMatchObject({ phase: 'active', epoch: 0 });
    });

    it('of unknown flows go where a SYN would, or to the host, and nowhere while ownership is rebuilt', () => {
      const known = claim();
      expect(stage.packet(newFlow())).toBe(1);
      stage.dataplane.setRebuilding(true);
      expect(stage.packet(newFlow())).toBe('dropped');
      expect(stage.syn(newFlow())).toBeUndefined();
      expect(stage.packet(known)).toBe(1);
      stage.dataplane.setRebuilding(false);
      stage.dataplane.setServices([{ ...service, backends: [] }]);
      expect(stage.packet(newFlow())).toBe('dropped');
      expect(stage.syn(newFlow())).toBeUndefined();
      stage.dataplane.setServices([]);
      expect(stage.packet(newFlow())).toBe('to the host');
    });
  });

  describe('lists', () => {
    it('name all, or those that are silent or reset, or those of an endpoint', async () => {
      const [silent, reset, fresh] = [claim(5, 2), claim(), claim()];
      await pause(30);
      const sinceNs = systemClock.monotonicNs() - 15_000_000n;
      await pause(30);
      stage.packet(reset, true);
      stage.packet(fresh);
      const names = (flows: readonly { readonly flow: Flow }[]): number[] =>
        flows.map(({ flow }) => flow.client.port);
      const ports = (...flows: Flow[]): number[] => flows.map(({ client }) => client.port);
      expect(names(stage.dataplane.list())).toEqual(expect.arrayContaining(ports(silent, reset, fresh)));
      const idle = names(stage.dataplane.list(sinceNs));
      expect(idle).toEqual(expect.arrayContaining(ports(silent, reset)));
      expect(idle).not.toContain(fresh.client.port);
      const ofTwo = names([...stage.dataplane.listOf(2)].flat());
      expect(ofTwo).toContain(silent.client.port);
      expect(ofTwo).not.toContain(fresh.client.port);
    });
  });

  it('refuses numbers that no map has a place for, and then changes nothing', () => {
    const { dataplane } = stage;
    const flow = newFlow();
    const good = { op: 'claim', flow, endpointId: 1, epoch: 0 } as const;
    for (const bad of [
      { epoch: 0x1000000 },
      { epoch: -1 },
      { epoch: 0.5 },
      { endpointId: 0 },
      { endpointId: 4096 },
    ])
      expect(() => apply(good, { ...good, ...bad })).toThrow(expect.objectContaining({ code: 'usage' }));
    const toSwitch = { op: 'switch', flow, epoch: 0, endpointId: 1, newEpoch: 0x1000000 } as const;
    expect(() => apply(toSwitch)).toThrow(expect.objectContaining({ code: 'usage' }));
    expect(dataplane.lookup(flow)).toBeUndefined();
    expect(() =>
      dataplane.setServices([{ ...service, backends: [{ endpointId: 4096, weight: 1 }] }]),
    ).toThrow();
    expect(() => dataplane.removeTarget(0)).toThrow(expect.objectContaining({ code: 'usage' }));
  });
}
