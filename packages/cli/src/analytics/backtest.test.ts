import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRandom } from '@restitch/analytics';
import { formatBacktest, runBacktest } from './backtest.js';
import { parseStep, toLabels, toPanelData } from './csv-panel.js';
import { parseNumber } from './number-text.js';
import { createProgress } from './progress.js';
import { type CsvTable, parseCsv, readCsv } from './read-csv.js';

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
    expect(rowsOf(parseCsv('x', '\uFEFFa,b\r\n"1,5","he said ""no"""\r\n'))).toEqual([
      ['1,5', 'he said "no"'],
    ]);
    const file = join(folder, 'plain.csv.gz');
    await writeFile(file, gzipSync('a\n1\n'));
    expect(rowsOf(await readCsv(file))).toEqual([['1']]);
    const lines = parseCsv('x', 'a;b\n\n"1\n2";3\n4;5\n');
    expect(rowsOf(lines)).toEqual([
      ['1\n2', '3'],
      ['4', '5'],
    ]);
    expect([lines.lineOf(0), lines.lineOf(1)]).toEqual([3, 5]);
    expect(rowsOf(parseCsv('x', 'a\tb\n1,5\t2\n'))).toEqual([['1,5', '2']]);
  });

  it('says what is wrong with a file', async () => {
    expect(() => parseCsv('x.csv', 'a,b\n1,2\n1\n1,2\n')).toThrow(
      'x.csv: line 3 has 1 fields, the header 2; mend the line',
    );
    expect(() => parseCsv('x.csv', 'a,b\n1,2\n1')).toThrow(
      'line 3 has 1 fields, the header 2; the file may be cut off',
    );
    expect(() => parseCsv('x.csv', 'a,b\n')).toThrow('no header and rows');
    const utf16 = join(folder, 'utf16.csv');
    await writeFile(utf16, Buffer.from('\uFEFFa,b\n1,2\n', 'utf16le'));
    await expect(readCsv(utf16)).rejects.toThrow('iconv');
    const cut = join(folder, 'cut.csv.gz');
    const packed = gzipSync(`a\n${'1234567\n'.repeat(1000)}`);
    await writeFile(cut, packed.subarray(0, packed.length - 12));
    await expect(readCsv(cut)).rejects.toThrow('cut off');
    await expect(readCsv(join(folder, 'missing.csv'))).rejects.toMatchObject({ code: 'usage' });
    const table = parseCsv('x.csv', 'a,b\n1,2\n');
    expect(() => toPanelData(table, { time: 'a', value: 'c' })).toThrow('x.csv has no column c; it has a, b');
    expect(() =>
      toPanelData(parseCsv('x', 't,v\nnever,1\n2020-01-01,2\n'), { time: 't', value: 'v' }),
    ).toThrow('not iso');
  });
});

function rowsOf(table: CsvTable): (readonly string[])[] {
  return Array.from({ length: table.rowCount }, (_, i) => table.fields(i));
}

describe('numbers of a csv', () => {
  it.each([
    ['12.5', ',', 12.5],
    ['-1e-3', ',', -0.001],
    ['45%', ',', 45],
    ['45,5 %', ';', 45.5],
    ['1,234', ',', 1234],
    ['1,234', ';', 1.234],
    ['1,234,567', ';', 1234567],
    ['1,234.5', ',', 1234.5],
    ['1.234,5', ';', 1234.5],
    ['1.234.567', ',', 1234567],
    ["1'234'567.8", ',', 1234567.8],
    ['12\u202f345', '\t', 12345],
    ['1 234', ',', 1234],
    ['', ',', Number.NaN],
    ['n/a', ',', Number.NaN],
    ['NaN', ',', Number.NaN],
    ['12 MB', ',', undefined],
    ['1,5', ',', undefined],
    ['1,2,3', ';', undefined],
    ['1.2.3', ',', undefined],
    ['1.234,567,8', ';', undefined],
    ['0x10', ',', undefined],
    ['Infinity', ',', undefined],
    ['1e999', ',', undefined],
    ['12 34', ',', undefined],
    ['idle', ',', undefined],
  ] as const)('%j in a file with %j is %d', (text, separator, number) => {
    expect(parseNumber(text, separator)).toEqual(number);
  });

  it('are what was written, whatever the style (property)', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -1e9, max: 1e9 }),
        fc.nat(99),
        fc.boolean(),
        (whole, cents, isPercent) => {
          const digits = new Intl.NumberFormat('en-US').format(Math.abs(whole));
          const sign = whole < 0 ? '-' : '';
          const end = `${String(cents).padStart(2, '0')}${isPercent ? ' %' : ''}`;
          const number = Number(
            `${whole < 0 || Object.is(whole, -0) ? '-' : ''}${Math.abs(whole)}.${String(cents).padStart(2, '0')}`,
          );
          expect(parseNumber(`${sign}${digits}.${end}`, ',')).toBe(number);
          expect(parseNumber(`${sign}${digits.replaceAll(',', '.')},${end}`, ';')).toBe(number);
          expect(parseNumber(`${sign}${digits.replaceAll(',', ' ')}.${end}`, '\t')).toBe(number);
        },
      ),
    );
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

  it('understands semicolons with decimal commas, percent signs, and milliseconds since 1970', () => {
    const at = Date.UTC(2026, 0, 1);
    const rows = [0, 1, 2].map((i) => `${at + 60_000 * i};${i + 1},5 %;1.00${i},25`);
    const table = parseCsv('x', ['t;cpu;queue', ...rows].join('\n'));
    const data = toPanelData(table, { time: 't', value: 'cpu' });
    expect([...data.values[0]!]).toEqual([1.5, 2.5, 3.5]);
    expect([...data.aux!]).toEqual([1000.25, 1001.25, 1002.25]);
    expect(data.timesS[0]).toBe(at / 1000);
    expect(data.stepS).toBe(60);
    const micro = parseCsv('x', `t,v\n${at}000,1\n${at + 1000}000,2\n`);
    expect(toPanelData(micro, { time: 't', value: 'v' }).timesS[1]).toBe(at / 1000 + 1);
    const nano = parseCsv('x', `t,v\n${at}000000,1\n${at + 1000}000000,2\n`);
    expect(toPanelData(nano, { time: 't', timeUnit: 'ns', value: 'v' }).timesS[1]).toBeCloseTo(
      at / 1000 + 1,
      6,
    );
    const days = parseCsv('x', 't,v\n2026-01-01,1\n2026-01-02,2\n');
    expect(toPanelData(days, { time: 't', value: 'v' }).stepS).toBe(86_400);
  });

  it('refuses what it does not understand, with the line and the remedy', () => {
    const read = (text: string) => () => toPanelData(parseCsv('x.csv', text), { time: 't', value: 'v' });
    expect(read('t,v\n0,1\n60,busy\n')).toThrow(
      'x.csv line 3: v "busy" is no number; leave the field empty where there is no value, or name another column with --value',
    );
    expect(read('t,v\n0,1\n\n60,2\nlater,2\n')).toThrow(
      /x\.csv line 5: time "later" is not s; .*--time-unit/,
    );
    expect(read('t,v\n01.02.2026 10:00,1\n')).toThrow(
      /line 2: time "01.02.2026 10:00" is not iso; write 2026-01-31T/,
    );
    expect(read('t,v\n2/1/2026,1\n')).toThrow(/is not iso/);
  });

  it('parses steps', () => {
    expect([parseStep('60s'), parseStep('5m'), parseStep('1h'), parseStep('90')]).toEqual([
      60, 300, 3_600, 90,
    ]);
    expect(() => parseStep('soon')).toThrow('--step soon');
  });
});

describe('progress', () => {
  it('is one line on a terminal, and one every five seconds elsewhere', () => {
    const heard: string[] = [];
    const write = (text: string): number => heard.push(text);
    let now = 0;
    const log = createProgress({ write }, () => now);
    for (now = 0; now <= 11_000; now += 1000) log.say(`${now / 1000}`);
    log.end();
    expect(heard).toEqual(['5\n', '10\n']);
    heard.length = 0;
    const terminal = createProgress({ isTTY: true, write }, () => now);
    terminal.say('1');
    terminal.end();
    expect(heard).toEqual(['\r\u001b[K1', '\r\u001b[K']);
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
    const three = await makeFile('three.csv', 3);
    await expect(
      runBacktest({ files: [three], time: 'minute', value: 'cpu', horizons: '1' }),
    ).rejects.toThrow(
      /three\.csv: 3 values in its longest series, .* needs 20; give it a longer file, or shorter/,
    );
    const alone = await makeFile('alone.csv', 50);
    await expect(
      runBacktest({ files: [alone], time: 'minute', value: 'cpu', horizons: '1,15' }),
    ).rejects.toThrow(/15 steps ahead needs 60/);
    await expect(
      runBacktest({ files: [alone], time: 'minute', value: 'cpu', horizons: '1', incidents: 'anomaly' }),
    ).rejects.toMatchObject({ code: 'usage' });
  });
});
