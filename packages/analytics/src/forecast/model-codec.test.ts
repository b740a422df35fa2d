import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ModelSlots } from '../control/model-slots.js';
import { createRandom } from '../seeded-random.js';
import { encodeModel, parseModel } from './model-codec.js';
import { PanelForecaster } from './panel-forecaster.js';

function trainedPanel(): PanelForecaster {
  const random = createRandom(1);
  const panel = new PanelForecaster({
    seriesCount: 1,
    horizons: [1, 3],
    stepS: 10,
    calendar: false,
    trainingRows: 1_000,
  });
  for (let t = 0; t < 600; t++) {
    panel.observe(t * 10, Float64Array.of(Math.sin(t / 7) + random()));
    if (panel.trainingDue()) panel.train();
  }
  return panel;
}

describe('stored models', () => {
  const panel = trainedPanel();
  const names = panel.frame.names;
  const text = encodeModel(panel.model!, names);

  it('come back exactly', () => {
    expect(parseModel(text, names)).toEqual(panel.model);
  });

  it('are refused for other inputs, and when damaged anywhere', () => {
    expect(parseModel(text, [...names, 'more'])).toBeUndefined();
    expect(parseModel('', names)).toBeUndefined();
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.constantFrom('0', '9', ',', '"', 'x', ''), (at, put) => {
        const damaged = text.slice(0, at) + put + text.slice(at + 1);
        if (damaged !== text) expect(parseModel(damaged, names)).toBeUndefined();
      }),
      { numRuns: 60 },
    );
  });

  it('are refused when a tree points backwards, even with a right checksum', () => {
    const model = structuredClone(panel.model!);
    const trees = model.changes[0]![0]!;
    trees.left[trees.left.length - 1] = 0;
    expect(parseModel(encodeModel(model, names), names)).toBeUndefined();
  });
});

describe('model slots', () => {
  it('promote a better model after its trial, never before, and roll back', () => {
    const slots = new ModelSlots('old');
    slots.train('new');
    for (let i = 0; i < 499; i++) expect(slots.record(0.1, 0.2)).toBeUndefined();
    expect(slots.active).toBe('old');
    expect(slots.record(0.1, 0.2)).toBe('promoted');
    expect(slots.active).toBe('new');
    expect(slots.rollback()).toBe(true);
    expect(slots.active).toBe('old');
    expect(slots.rollback()).toBe(false);
  });

  it('give up a model that does not get better', () => {
    const slots = new ModelSlots('old');
    slots.train('worse');
    let event;
    for (let i = 0; i < 20_000; i++) event = slots.record(0.3, 0.2);
    expect(event).toBe('discarded');
    expect(slots.active).toBe('old');
    expect(slots.shadow).toBeUndefined();
  });
});
