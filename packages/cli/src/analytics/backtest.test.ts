import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRandom } from '@restitch/analytics';
import { formatBacktest, runBacktest } from './backtest.js';
import { parseStep, toLabels, toPanelData } from './csv-panel.js';
import { parseCsv, readCsv } from './read-csv.js';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'restitch-backtest-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function makeFile(name: string, rows = 400, seed = 1): Promise<string> {
  const random = createRandom(seed);
  const lines = Array.from({ length: rows }, (_, t) => {
    const incident = t % 90 > 80 ? 1 : 0;
    return `${t},train,${(5 + 2 * Math.sin(t / 10) + random()).toFixed(4)},${random().toFixed(3)},${incident}`;
  });
  const file = join(folder, name);
  const text = ['minute,part,cpu,queue,anomaly', ...lines].join('\n');
  await writeFile(file, name.endsWith('.gz') ? gzipSync(text) : text);
  return file;
}

describe('csv', () => {
  it('reads quotes, carriage returns, a byte order mark and gzip', async () => {
    expect(parseCsv('x', '\uFEFFa,b\r\n"1,5","he said ""no"""\r\n').rows).toEqual([['1,5', 'he said "no"']]);
    const file = join(folder, 'plain.csv.gz');
    await writeFile(file, gzipSync('a\n1\n'));
    expect((await readCsv(file)).rows).toEqual([['1']]);
  });

  it('says what is wrong with a file', async () => {
    expect(() => parseCsv('x.csv', 'a,b\n1\n')).toThrow('x.csv: data row 1 has 1 fields, the header 2');
    await expect(readCsv(join(folder, 'missing.csv'))).rejects.toMatchObject({ code: 'usage' });
    const table = parseCsv('x.csv', 'a,b\n1,2\n');
    expect(() => toPanelData(table, { time: 'a', value: 'c' })).toThrow('x.csv has no column c; it has a, b');
    expect(() =>
      toPanelData(parseCsv('x', 't,v\nnever,1\n2020-01-01,2\n'), { time: 't', value: 'v' }),
    ).toThrow('not iso');
  });
});

describe('panel from csv', () => {
  it('sorts by time, lets the last of repeated times count, and keeps hindsight out', () => {
    const table = parseCsv('x', 't,v,q,anomaly,part\n120,3,1,0,a\n0,1,2,0,a\n60,2,3,1,a\n60,9,4,1,a\n');
    const data = toPanelData(table, { time: 't', timeUnit: 's', value: 'v' });
    expect([...data.timesS]).toEqual([0, 60, 120]);
    expect([...data.values[0]!]).toEqual([1, 9, 3]);
    expect(data.auxNames).toEqual(['q']);
    expect([...data.aux!]).toEqual([2, 4, 1]);
    expect([...toLabels(table, { time: 't', timeUnit: 's', value: 'v' }, 'anomaly')]).toEqual([0, 1, 0]);
  });

  it('makes a series a group on one clock, missing values NaN', () => {
    const table = parseCsv('x', 'vm,minute,cpu\na,0,1\na,5,2\na,10,3\nb,5,7\nb,10,8\n');
    const data = toPanelData(table, { time: 'minute', timeUnit: 'min', value: 'cpu', group: 'vm' });
    expect(data.names).toEqual(['a', 'b']);
    expect(data.stepS).toBe(300);
    expect(data.values[1]![0]).toBeNaN();
    expect(data.values[1]![2]).toBe(8);
  });

  it('takes rows as steps, reads ISO times as UTC, and drops a step that no two rows are apart', () => {
    const rows = 'v\n1\n2\n3\n';
    expect(toPanelData(parseCsv('x', rows), { time: 'index', stepS: 30, value: 'v' }).timesS[2]).toBe(60);
    const iso = parseCsv('x', 't,v\n2020-01-01 00:00:00,1\n2020-01-01 00:30:00,2\n');
    expect(toPanelData(iso, { time: 't', value: 'v', stepS: 300 }).stepS).toBe(1_800);
    expect(toPanelData(iso, { time: 't', value: 'v' }).timesS[0]).toBe(Date.UTC(2020, 0, 1) / 1000);
  });

  it('parses steps', () => {
    expect([parseStep('60s'), parseStep('5m'), parseStep('1h'), parseStep('90')]).toEqual([
      60, 300, 3_600, 90,
    ]);
    expect(() => parseStep('soon')).toThrow('--step soon');
  });
});

describe('backtest', () => {
  it('reports horizons and series with the promised keys, overload, incidents, leaks, and a plot', async () => {
    const files = [await makeFile('one.csv'), await makeFile('two.csv.gz', 400, 2)];
    const plot = join(folder, 'plot.svg');
    const args = {
      files,
      time: 'minute',
      timeUnit: 'min',
      step: '60s',
      value: 'cpu',
      horizons: '5,1',
      threshold: 'p95',
      incidents: 'anomaly',
      checkLeaks: true,
      ets: true,
      plot,
    };
    const report = await runBacktest(args);
    expect(report.horizons.map((row) => row.h)).toEqual([1, 5]);
    expect(report.series.map((s) => s.name)).toEqual(['one.csv', 'two.csv.gz']);
    const row = report.horizons[1]!;
    expect(Object.keys(row)).toEqual(
      expect.arrayContaining(['h', 'restitch', 'naive', 'ses', 'ets', 'seasonal', 'overload']),
    );
    expect(Object.keys(row.restitch)).toEqual(['rmae', 'pinball', 'coverage80']);
    expect(Object.keys(row.overload!)).toEqual(expect.arrayContaining(['restitch', 'reactive', 'baseRate']));
    expect(Object.keys(row.overload!.reactive)).toEqual(['ap', 'brier', 'ece']);
    expect(row.restitch.rmae).toBeLessThan(0.9);
    expect(report.leftOut).toBe(0);
    expect(report.leak).toBe('none');
    expect(report.incidents).toHaveLength(4);
    const text = formatBacktest(report);
    expect(text).toContain('2 series, 0 left out at some horizon');
    expect(text).toContain('leaks: none');
    const svg = await readFile(plot, 'utf8');
    expect(svg).toContain('forecast 5 steps ahead');
    expect(svg).not.toMatch(/NaN|undefined/);
  }, 120_000);

  it('refuses options it cannot use', async () => {
    const args = { files: ['x.csv'], time: 'index', value: 'v', horizons: '1' };
    await expect(runBacktest({ ...args, files: [] })).rejects.toMatchObject({ code: 'usage' });
    await expect(runBacktest({ ...args, horizons: '0.5' })).rejects.toMatchObject({ code: 'usage' });
    await expect(runBacktest({ ...args, threshold: 'high' })).rejects.toMatchObject({ code: 'usage' });
    await expect(runBacktest({ ...args, timeUnit: 'days' })).rejects.toMatchObject({ code: 'usage' });
    const alone = await makeFile('alone.csv', 50);
    await expect(
      runBacktest({ files: [alone], time: 'minute', value: 'cpu', horizons: '1', incidents: 'anomaly' }),
    ).rejects.toMatchObject({ code: 'usage' });
  });
});
