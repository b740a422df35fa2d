import { describe, expect, it } from 'vitest';
import { FailureRisk } from '../risk/failure-risk.js';
import { createRandom } from '../seeded-random.js';
import { runIncidents, type IncidentSeries } from './incidents.js';

/** A machine with an incident about every 200 rows; `announced`: the other metric rises 10 rows before. */
function makeMachine(name: string, rows: number, announced: boolean, seed: number): IncidentSeries {
  const random = createRandom(seed);
  const incident = new Uint8Array(rows);
  const queue = Float32Array.from({ length: rows }, () => random());
  for (let row = 100; row + 20 < rows; row += 150 + Math.floor(100 * random())) {
    incident.fill(1, row, row + 10);
    if (announced) for (let k = row - 10; k < row; k++) queue[k] = 3 + random();
  }
  return {
    incident,
    data: {
      names: [name],
      timesS: Float64Array.from({ length: rows }, (_, t) => t * 60),
      stepS: 60,
      calendar: false,
      values: [Float64Array.from({ length: rows }, () => random())],
      auxNames: ['queue'],
      aux: queue,
    },
  };
}

describe('incidents on a machine never seen', () => {
  it('are claimed to be known where other machines announce them the same way, with skill', () => {
    const machines = [1, 2, 3].map((seed) => makeMachine(`m${seed}`, 4_000, true, seed));
    for (const scores of runIncidents(machines, [5], 1)) {
      expect(scores.knownRatio).toBeGreaterThan(0.4);
      expect(scores.skillWhereKnown).toBeGreaterThan(0.3);
      expect(scores.ap).toBeGreaterThan(3 * scores.baseRate);
    }
  }, 60_000);

  it('are unknown, or nearly so, where nothing announces them', () => {
    const machines = [4, 5, 6].map((seed) => makeMachine(`m${seed}`, 4_000, false, seed));
    for (const scores of runIncidents(machines, [5], 1)) expect(scores.knownRatio).toBeLessThan(0.3);
  }, 60_000);
});

describe('failure risk', () => {
  it('is unknown at first, a number once skill is proven, and unknown again when it is lost', () => {
    const random = createRandom(7);
    const risk = new FailureRisk(0.05, 1);
    expect(risk.assess(0).risk).toBe('unknown');
    const drive = (count: number, telling: boolean) => {
      for (let i = 0; i < count; i++) {
        const happens = random() < 0.05;
        const score = telling ? (happens ? 2 : -3) : happens ? -3 : random() < 0.05 ? 2 : -3;
        risk.mature(risk.assess(score), happens);
      }
    };
    drive(3_000, true);
    expect(typeof risk.assess(2).risk).toBe('number');
    drive(40_000, false);
    expect(risk.assess(2).risk).toBe('unknown');
  });
});
