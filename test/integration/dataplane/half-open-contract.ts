/** What `forgetHalfOpen` promises, for every implementation of the data plane's contract. */
import { beforeAll, expect, it } from 'vitest';
import type { Flow } from '@restitch/core';
import type { Dataplane } from '@restitch/dataplane';

/** A data plane with endpoints 1 and 2, and its steering of SYNs. */
export interface HalfOpenStage {
  readonly dataplane: Dataplane;
  /** The endpoint that a SYN of this flow is sent to. */
  readonly syn: (flow: Flow) => number | undefined;
}

const vip = { address: '10.77.0.100', port: 7000 };
const other = { address: 'fd77::100', port: 7000 };

/** Runs the promises against a stage; `setUp` is called once. */
export function halfOpenContract(setUp: () => HalfOpenStage): void {
  let stage: HalfOpenStage;
  let nextPort = 1000;
  const serve = (...ids: number[]): void => {
    const backends = ids.map((endpointId) => ({ endpointId, weight: 1 }));
    stage.dataplane.setServices([vip, other].map((service) => ({ ...service, backends })));
  };
  const flow = (service = vip): Flow => {
    const address = service === vip ? '10.77.0.2' : 'fd77::2';
    return { client: { address, port: nextPort++ }, vip: service };
  };
  beforeAll(() => {
    stage = setUp();
  });

  it('a repeated SYN goes where the first one went, whoever serves now', () => {
    serve(1);
    const one = flow();
    expect(stage.syn(one)).toBe(1);
    serve(2);
    expect(stage.syn(one)).toBe(1);
  });

  it('once its endpoint is forgotten it goes to one that serves, of either address family', () => {
    serve(1);
    const flows = [flow(), flow(other)];
    for (const one of flows) expect(stage.syn(one)).toBe(1);
    serve(2);
    expect(stage.dataplane.forgetHalfOpen(1)).toBeGreaterThanOrEqual(2);
    for (const one of flows) expect(stage.syn(one)).toBe(2);
    expect(stage.dataplane.forgetHalfOpen(1)).toBe(0);
  });

  it('those of others are left alone', () => {
    serve(2);
    const kept = flow();
    expect(stage.syn(kept)).toBe(2);
    serve(1);
    const gone = flow();
    expect(stage.syn(gone)).toBe(1);
    expect(stage.dataplane.forgetHalfOpen(1)).toBe(1);
    expect(stage.syn(kept)).toBe(2);
    stage.dataplane.forgetHalfOpen(2);
  });

  it('a thousand at once, and flows that have a record are none of them', () => {
    serve(1);
    const recorded = flow();
    stage.dataplane.apply([{ op: 'claim', flow: recorded, endpointId: 1, epoch: 0 }]);
    for (let i = 0; i < 1000; i++) stage.syn(flow());
    expect(stage.dataplane.forgetHalfOpen(1)).toBe(1000);
    expect(stage.dataplane.lookup(recorded)?.endpointId).toBe(1);
    const flowsOf = (id: number): Flow[] =>
      [...stage.dataplane.listOf(id)].flat().map((record) => record.flow);
    expect(flowsOf(1)).toEqual([recorded]);
    expect(flowsOf(2)).toEqual([]);
  });
}
