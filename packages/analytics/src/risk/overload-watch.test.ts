import { describe, expect, it } from 'vitest';
import { createGovernor, stepGovernor } from '../control/mode-governor.js';
import { PanelForecaster } from '../forecast/panel-forecaster.js';
import { calibrationError } from '../measure/event-scores.js';
import { createRandom } from '../seeded-random.js';
import { OverloadWatch } from './overload-watch.js';

const HORIZON = 10;

/** Eight endpoints on shifted waves: on the way up the limit is coming, at the same load on the way down it is not. */
function* waves(steps: number, seed: number): Generator<Float64Array> {
  const random = createRandom(seed);
  for (let t = 0; t < steps; t++) {
    yield Float64Array.from(
      { length: 8 },
      (_, s) => 0.6 + 0.45 * Math.sin((2 * Math.PI * t) / 90 + s) + 0.06 * random(),
    );
  }
}

function makeWatch(distort?: (p: number) => number) {
  const panel = new PanelForecaster({
    seriesCount: 8,
    horizons: [1, 5, HORIZON],
    stepS: 10,
    calendar: false,
    trainingRows: 0,
  });
  const limits = new Float64Array(8).fill(1);
  const watch = new OverloadWatch({ panel, limits, ...(distort === undefined ? {} : { distort }) });
  return { panel, watch };
}

describe('overload watch', () => {
  it('has skill against the reactive rule where the direction tells more than the level, and is calibrated', () => {
    const { panel, watch } = makeWatch();
    const all = [...waves(1_500, 1)];
    const said: number[] = [];
    const labels: number[] = [];
    all.forEach((values, t) => {
      panel.observe(t * 10, values);
      watch.step(values);
      if (t < 500 || t + HORIZON >= all.length) return;
      for (let s = 0; s < 8; s++) {
        if (values[s]! > 1) {
          expect(watch.risks[s]).toBe(1);
          continue;
        }
        said.push(watch.risks[s]!);
        labels.push(all.slice(t + 1, t + 1 + HORIZON).some((v) => v[s]! > 1) ? 1 : 0);
      }
    });
    expect(watch.skill.skill).toBeGreaterThan(0.3);
    expect(watch.skill.certainty).toBeGreaterThan(2);
    expect(calibrationError(Float64Array.from(said), Uint8Array.from(labels))).toBeLessThan(0.05);
  });

  it('an inverted model is found out, and the governor falls back to the reactive rule', () => {
    const { panel, watch } = makeWatch((p) => 1 - p);
    let governor = createGovernor('act');
    let fellAt = -1;
    let t = 0;
    for (const values of waves(400, 2)) {
      panel.observe(t * 10, values);
      watch.step(values);
      governor = stepGovernor(governor, { t: 'skill', skill: watch.skill }).state;
      if (governor.rule === 'reactive' && fellAt < 0) fellAt = t;
      t++;
    }
    expect(governor.rule).toBe('reactive');
    expect(fellAt).toBeGreaterThan(0);
    expect(fellAt).toBeLessThan(100);
  });

  it('counts load back that was moved away: prevented overloads still teach', () => {
    const run = (countBack: boolean) => {
      const { panel, watch } = makeWatch();
      let t = 0;
      for (const values of waves(1_200, 3)) {
        // Sessions leave as soon as 0.9 is reached, so the limit is never crossed.
        const kept = values.map((v) => Math.min(v, 0.9));
        panel.observe(t * 10, countBack ? values : kept);
        watch.step(kept, countBack ? values.map((v, s) => v - kept[s]!) : undefined);
        t++;
      }
      return Math.max(...watch.risks);
    };
    expect(run(false)).toBeLessThan(0.1);
    expect(run(true)).toBeGreaterThan(0.5);
  });

  it('leaves outcomes open across missing values', () => {
    const { panel, watch } = makeWatch();
    let t = 0;
    for (const values of waves(300, 4)) {
      if (t % 7 === 0) values.fill(Number.NaN);
      panel.observe(t * 10, values);
      watch.step(values);
      t++;
    }
    expect(watch.skill.skill).toBeUndefined();
  });
});
