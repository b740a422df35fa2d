import { describe, expect, it } from 'vitest';
import { parseRescuePatterns, runRescueBench } from './rescue-bench.js';

describe('rescue benchmark', () => {
  it('prints what each rule did after each past', () => {
    const heard: string[] = [];
    const report = runRescueBench({ seeds: 1, patterns: ['flash'] }, ({ past }) => heard.push(past));
    expect(heard).toEqual(['2s', '25s', '2min', '10min', 'quota']);
    expect(report).toMatchObject({ seeds: 1 });
    for (const { pattern, rules } of report.rows) {
      expect(pattern).toBe('flash');
      expect(rules.none.moves).toBe(0);
      expect(rules.reactive.moves).toBeGreaterThan(0);
      expect(rules.reactive.overloadS).toBeLessThan(0.5 * rules.none.overloadS);
    }
  }, 60_000);

  it('shows that the forecast rescues: no worse than the reactive rule, whatever the past', () => {
    const { rows, failed } = runRescueBench({ seeds: 2, patterns: ['ramp', 'steep', 'few-heavy'] });
    expect(failed).toEqual([]);
    const ramp = rows.filter(({ pattern }) => pattern === 'ramp');
    for (const { rules } of ramp) expect(rules.predictive.overloadS).toBeLessThan(1);
  }, 120_000);

  it('says which patterns there are', () => {
    expect(parseRescuePatterns('ramp, few-heavy')).toEqual(['ramp', 'few-heavy']);
    expect(() => parseRescuePatterns('ramp,steap')).toThrow(/expected some of ramp, steep/);
  });
});
