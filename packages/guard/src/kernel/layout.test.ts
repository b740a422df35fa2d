/** bpf/consts.h and bpf/maps.h read as text, laid out as C does it, and held against what layout.ts reads and writes. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Flow } from '@restitch/core';
import { encodeFlowKey } from '@restitch/core';
import { describe, expect, it } from 'vitest';
import {
  birthOf,
  commandAt,
  decodeGuardedFlow,
  decodeKey,
  encodeCommand,
  guardFlags,
  guardLayoutVersion,
  guardOps,
  guardResults,
  guardVerdicts,
  maxLeases,
  sizes,
} from './layout.js';

const textOf = (name: string): string =>
  readFileSync(new URL(`../../../../bpf/${name}`, import.meta.url), 'utf8').replace(/\/\*[^]*?\*\//g, '');
const consts = textOf('guard/consts.h');
const maps = `${textOf('common/flow-key.h')}\n${textOf('guard/maps.h')}`;
const control = textOf('guard/control.bpf.c');

const defines = new Map(
  [...consts.matchAll(/^#define (\w+) (\d+)/gm)].map(([, name, value]) => [name as string, Number(value)]),
);

/** Names of an enum in order, each with its value. */
function enumOf(name: string): Array<readonly [string, number]> {
  const body = new RegExp(`enum ${name} \\{([^}]*)\\}`).exec(consts)?.[1] ?? '';
  let next = 0;
  return [...body.matchAll(/(\w+)(?: = (\d+))?,/g)].map(([, key, value]) => {
    const n = value === undefined ? next : Number(value);
    next = n + 1;
    return [key as string, n] as const;
  });
}

interface Field {
  readonly at: number;
  readonly bytes: number;
}
interface Layout {
  readonly bytes: number;
  readonly align: number;
  readonly fields: ReadonlyMap<string, Field>;
}

const scalars: Readonly<Record<string, number>> = { __u8: 1, __u16: 2, __u32: 4, __u64: 8 };

/** A struct of maps.h as the C compiler places it: each field at a multiple of its alignment, the whole at its largest. */
function layoutOf(name: string): Layout {
  const body = new RegExp(`struct ${name} \\{([^}]*)\\};`).exec(maps)?.[1] ?? '';
  const fields = new Map<string, Field>();
  let at = 0;
  let widest = 1;
  for (const [, type, field, count] of body.matchAll(/(struct \w+|__u\d+) (\w+)(?:\[(\w+)\])?;/g)) {
    const { bytes, align } = sizeOf(type as string);
    const times = count === undefined ? 1 : (defines.get(count) ?? Number(count));
    at = Math.ceil(at / align) * align;
    fields.set(field as string, { at, bytes: bytes * times });
    at += bytes * times;
    widest = Math.max(widest, align);
  }
  return { bytes: Math.ceil(at / widest) * widest, align: widest, fields };
}

function sizeOf(type: string): { readonly bytes: number; readonly align: number } {
  if (type === 'struct bpf_spin_lock') return { bytes: 4, align: 4 };
  if (type.startsWith('struct ')) return layoutOf(type.slice(7));
  const bytes = scalars[type];
  if (bytes === undefined) throw new Error(`unknown type ${type}`);
  return { bytes, align: bytes };
}

const fieldOf = (layout: Layout, name: string): Field => {
  const field = layout.fields.get(name);
  if (field === undefined) throw new Error(`no field ${name}`);
  return field;
};
const camel = (upper: string): string =>
  upper.toLowerCase().replace(/_(\w)/g, (_all, letter: string) => letter.toUpperCase());

const flow: Flow = { client: { address: '10.9.0.2', port: 40001 }, vip: { address: 'fd00::1', port: 7000 } };

describe('numbers of bpf/consts.h', () => {
  it('have the same verdicts in the same order', () => {
    const named = enumOf('guard_verdict').slice(0, -1);
    expect(named.map(([name]) => camel(name.replace('GUARD_', '')))).toEqual([...guardVerdicts]);
    expect(named.map(([, value]) => value)).toEqual(guardVerdicts.map((_v, i) => i));
    expect(enumOf('guard_verdict').at(-1)).toEqual(['GUARD_VERDICT_COUNT', guardVerdicts.length]);
  });

  it('have the same operations, results, flags and bounds', () => {
    const ops = enumOf('guard_op').map(([name, value]) => [camel(name.replace('GUARD_OP_', '')), value]);
    expect(Object.fromEntries(ops)).toEqual(guardOps);
    const results = enumOf('guard_result').map(([name, value]) => [
      camel(name.replace(/^GUARD_(OK_)?/, '')),
      value,
    ]);
    expect(results).toEqual(guardResults.map((name, i) => [name, i]));
    const flags = [...defines].filter(([name]) => name.startsWith('FLAG_'));
    expect(Object.fromEntries(flags.map(([name, value]) => [camel(name.slice(5)), value]))).toEqual(
      guardFlags,
    );
    expect(defines.get('MAX_LEASES')).toBe(maxLeases);
  });
});

describe('structs of bpf/maps.h', () => {
  it('have the same sizes', () => {
    const of = (name: string): number => layoutOf(name).bytes;
    expect({
      flow: of('guard_flow'),
      halfOpen: of('half_open_flow'),
      command: of('guard_command'),
      listenerKey: of('listener_key'),
      listenerValue: of('listener_value'),
      key: of('flow_key'),
    }).toEqual(sizes);
    expect(control).toContain(`#define COMMAND_AT ${commandAt}\n`);
  });

  it('have each field of an entry where it is read', () => {
    const layout = layoutOf('guard_flow');
    const names = {
      flags: 'flags',
      epoch: 'epoch',
      lease: 'lease',
      committed: 'committed',
      sentEnd: 'sent_end',
      withheldAck: 'withheld_ack',
      withheldSinceNs: 'withheld_since_ns',
      withheld: 'withheld',
      emitted: 'emitted',
      rewritten: 'rewritten',
      dropped: 'dropped',
      windowScale: 'window_scale',
      finSeq: 'fin_seq',
      birth: 'birth',
    };
    const value = Buffer.alloc(layout.bytes);
    const expected: Record<string, unknown> = { flow };
    Object.entries(names).forEach(([key, name], i) => {
      const { at, bytes } = fieldOf(layout, name);
      // The end is there because its flag is.
      const n = key === 'flags' ? guardFlags.ended : 17 + i;
      if (bytes === 8) value.writeBigUInt64LE(BigInt(n), at);
      else value.writeUIntLE(n, at, bytes);
      expected[key] = bytes === 8 ? BigInt(n) : n;
    });
    expect(decodeGuardedFlow(flow, value)).toEqual(expected);
  });

  it('have each field of a command where it is written', () => {
    const layout = layoutOf('guard_command');
    const numbers = {
      epoch: 2,
      flags: 3,
      lease: 4,
      committed: 0xffff_fff5,
      sentEnd: 6,
      windowScale: 7,
      finSeq: 8,
      birth: 9,
    };
    const frame = Buffer.alloc(commandAt + layout.bytes);
    encodeCommand({ op: 'remove', flow, ...numbers }, frame);
    const read = (name: string): number => frame.readUInt32LE(commandAt + fieldOf(layout, name).at);
    const key = frame.subarray(commandAt, commandAt + sizes.key);
    expect(key).toEqual(Buffer.from(encodeFlowKey(flow)));
    expect(decodeKey(key, 0)).toEqual(flow);
    expect(read('op')).toBe(guardOps.remove);
    for (const [name, value] of Object.entries(numbers)) {
      expect(read(name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`))).toBe(value);
    }
  });

  it('have a version of their own: whoever changes them raises guardLayoutVersion, and notes it here', () => {
    const structs = [...maps.matchAll(/^struct (\w+) \{([^}]*)\};/gm)].map(
      ([, name, body]) => `${name}{${(body ?? '').replace(/\s+/g, ' ')}}`,
    );
    const shape = createHash('sha256')
      .update(JSON.stringify([structs, [...defines]]))
      .digest('hex')
      .slice(0, 12);
    expect({ version: guardLayoutVersion, shape }).toEqual({ version: 3, shape: 'e2e5d4f244d6' });
  });
});

describe('a session’s birth number', () => {
  it('is never 0, which means not known, and differs with the id', () => {
    expect(birthOf('')).toBeGreaterThan(0);
    expect(new Set(Array.from({ length: 1000 }, (_, i) => birthOf(`session-${i}`))).size).toBe(1000);
  });
});
