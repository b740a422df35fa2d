/**
 * The golden bytes (packages/wire/vectors) against the code, and docs/protocol.md against both. A change of bytes or words is a
 * change of the protocol: it is made here by hand, and the page is written anew with PROTOCOL_PAGE=write.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { adminLineSchema, parseAdminAnswer, readAnswer } from '../admin/lines.js';
import { adminRequestSchema } from '../admin/requests.js';
import { parseFromApplication, parseToApplication } from '../agent/agent-protocol.js';
import { admissionSchema } from '../codec/admission.js';
import { createFrameParser, encodeFrame } from '../codec/frames.js';
import { parseMessage } from '../codec/parse-message.js';
import { assertVersion, protocolVersion } from '../codec/version.js';
import { fromEndpointSchema, toEndpointSchema } from '../control/messages.js';
import { replySchemas } from '../control/replies.js';
import { toSourceSchema, toTargetSchema } from '../transfer/messages.js';
import { rowsOf, typeOf } from './describe-schema.js';

interface Framed {
  readonly name: string;
  readonly from: string;
  readonly message: { readonly t: string; readonly protocol?: object };
  readonly frame: string;
}
interface Line {
  readonly name: string;
  readonly from: string;
  readonly line: string;
}
interface AdminPair {
  readonly name: string;
  readonly request: string;
  readonly answer: string;
}

const vectors = <T>(file: string): T[] =>
  JSON.parse(readFileSync(new URL(`../../vectors/${file}.json`, import.meta.url), 'utf8')) as T[];
const framed = [...vectors<Framed>('control'), ...vectors<Framed>('transfer')];
const agent = vectors<Line>('agent');
const admin = vectors<AdminPair>('admin');

const schemas = [admissionSchema, fromEndpointSchema, toEndpointSchema, toTargetSchema, toSourceSchema];
const optionOf = (t: string): z.core.$ZodType | undefined =>
  schemas
    .flatMap((schema) => schema.options as readonly z.core.$ZodType[])
    .find((option) => kindOf(option) === t);
const kindOf = (option: z.core.$ZodType): unknown =>
  (option._zod.def as unknown as { shape: { t: { _zod: { def: { values: unknown[] } } } } }).shape.t._zod.def
    .values[0];
const schemaOf = (t: string) =>
  schemas.find((schema) => (schema.options as readonly z.core.$ZodType[]).some((o) => kindOf(o) === t));

/** What stands of a message where a peer leaves its version out. */
const asUnderstood = (message: Framed['message']): object =>
  'protocol' in (rowShape(message.t) ?? {}) && message.protocol === undefined
    ? { ...message, protocol: { major: 1, minor: 0 } }
    : message;
const rowShape = (t: string): object | undefined =>
  (optionOf(t)?._zod.def as unknown as { shape: object } | undefined)?.shape;

/** A welcome by which a refused peer learns our version; nothing else of it is to be read. */
const isVersionOnly = (v: Framed): boolean => v.name === 'version refused';

describe('golden bytes', () => {
  it.each(framed)('of $name are what this build writes', ({ message, frame }) => {
    expect(Buffer.concat(encodeFrame(message)).toString('hex')).toBe(frame);
  });

  it.each(framed)('of $name are read as they are meant', (vector) => {
    const heard: unknown[] = [];
    createFrameParser(65_536).push(Buffer.from(vector.frame, 'hex'), (message) => heard.push(message));
    expect(heard).toEqual([vector.message]);
    expect(() => assertVersion(heard[0], 'peer')).not.toThrow();
    if (isVersionOnly(vector)) return;
    const schema = schemaOf(vector.message.t) as z.ZodType;
    expect(parseMessage(schema, heard[0], 'peer')).toEqual(asUnderstood(vector.message));
  });

  it.each(framed)('of $name mean the same in the longest forms of MessagePack', ({ message, frame }) => {
    const body = encodeLong(message);
    const header = Buffer.alloc(4);
    header.writeUInt32BE(body.length);
    expect(body.length + 4).toBeGreaterThan(frame.length / 2);
    const heard: unknown[] = [];
    createFrameParser(65_536).push(Buffer.concat([header, body]), (m) => heard.push(m));
    expect(heard).toEqual([message]);
  });

  it.each(agent)('of $name on the agent’s socket', ({ from, line }) => {
    const parsed = from === 'agent' ? parseToApplication(line) : parseFromApplication(line);
    expect({ protocol: { major: 1, minor: 0 }, ...JSON.parse(line) }).toMatchObject(parsed);
    if ('protocol' in parsed && line.includes('protocol')) expect(JSON.stringify(parsed)).toBe(line);
  });

  it.each(admin)('of $name on the admin socket', ({ request, answer }) => {
    const said = parseAdminAnswer(answer);
    if ('error' in said) return;
    const { request: asked } = adminLineSchema.parse(JSON.parse(request));
    if (!('ok' in said)) throw new Error('an answer is one of both');
    expect(readAnswer(asked.cmd, said.ok)).toEqual(said.ok);
  });

  it('are of the version that this build speaks', () => {
    const versions = framed.flatMap(({ message }) => message.protocol ?? []);
    for (const version of versions) expect(version).toEqual(protocolVersion);
  });
});

/** Every length in four bytes, every number as a float of eight: what another encoder may write. */
function encodeLong(value: unknown): Buffer {
  const sized = (token: number, length: number): Buffer => {
    const head = Buffer.alloc(5, token);
    head.writeUInt32BE(length, 1);
    return head;
  };
  if (value === null) return Buffer.from([0xc0]);
  if (typeof value === 'boolean') return Buffer.from([value ? 0xc3 : 0xc2]);
  if (typeof value === 'number') {
    const float = Buffer.alloc(9, 0xcb);
    float.writeDoubleBE(value, 1);
    return float;
  }
  if (typeof value === 'string')
    return Buffer.concat([sized(0xdb, Buffer.byteLength(value)), Buffer.from(value)]);
  if (Array.isArray(value)) return Buffer.concat([sized(0xdd, value.length), ...value.map(encodeLong)]);
  const entries = Object.entries(value as object);
  return Buffer.concat([sized(0xdf, entries.length), ...entries.flat().map(encodeLong)]);
}

/** Kinds of the control connection whose bytes may change until moves and replication have settled. */
const provisional = new Set([
  ...['reserve', 'prepare', 'freeze', 'activate', 'abort', 'revert', 'release', 'reset', 'residue', 'stats'],
  ...['replicas', 'take-over', 'thawed', 'thaw-failed', 'confirmed', 'buddies', 'peers', 'fenced'],
]);

describe('docs/protocol.md', () => {
  const file = new URL('../../../../docs/protocol.md', import.meta.url);
  const found = readFileSync(file, 'utf8');
  const region = /<!-- (schema|bytes|line|admin|table) ([^>]*?) -->\n([^]*?)<!-- end -->/g;
  const rewrite = (text: string): string => {
    const rewritten = text.replace(
      region,
      (_all, kind: string, what: string) => `<!-- ${kind} ${what} -->\n${expected(kind, what)}<!-- end -->`,
    );
    writeFileSync(file, rewritten);
    return rewritten;
  };
  const page = process.env['PROTOCOL_PAGE'] === 'write' ? rewrite(found) : found;
  const regions = [...page.matchAll(region)].map(([, kind = '', what = '', text = '']) => ({
    kind,
    what,
    text,
  }));
  it.each(regions)('says of $kind $what what the code says', ({ kind, what, text }) => {
    expect(text).toBe(expected(kind, what));
  });

  it('has every vector and every kind of message that has settled', () => {
    const shown = (kind: string): string[] => regions.filter((r) => r.kind === kind).map((r) => r.what);
    expect(shown('bytes').sort()).toEqual(framed.map((v) => v.name).sort());
    expect(shown('line').sort()).toEqual(agent.map((v) => v.name).sort());
    expect(shown('admin').sort()).toEqual(admin.map((v) => v.name).sort());
    const kinds = schemas
      .flatMap((schema) => (schema.options as readonly z.core.$ZodType[]).map((o) => String(kindOf(o))))
      .filter((t) => !provisional.has(t) && !t.startsWith('image'));
    expect(shown('schema').sort()).toEqual(kinds.sort());
    for (const t of provisional) expect(page, t).toContain(`\`${t}\``);
  });
});

function expected(kind: string, what: string): string {
  switch (kind) {
    case 'schema':
      return fieldTable(optionOf(what));
    case 'bytes':
      return framedBlock(framed.find((v) => v.name === what));
    case 'line':
      return `\`\`\`json\n${agent.find((v) => v.name === what)?.line ?? ''}\n\`\`\`\n`;
    case 'admin': {
      const pair = admin.find((v) => v.name === what);
      return `\`\`\`\n→ ${pair?.request ?? ''}\n← ${pair?.answer ?? ''}\n\`\`\`\n`;
    }
    default:
      return what === 'replies' ? replyTable() : commandTable();
  }
}

function fieldTable(schema: z.core.$ZodType | undefined): string {
  const rows = schema === undefined ? [] : rowsOf(schema);
  if (rows.length === 0) return 'No fields beside `t`.\n';
  const lines = rows.map(
    ({ field, type, isOptional }) => `| \`${field}\` | ${type} | ${isOptional ? 'may be absent' : ''} |`,
  );
  return `| field | type | |\n|---|---|---|\n${lines.join('\n')}\n`;
}

function framedBlock(vector: Framed | undefined): string {
  if (vector === undefined) return '';
  const bytes = vector.frame.match(/.{1,64}/g) ?? [];
  return `\`\`\`\n${JSON.stringify(vector.message)}\n${bytes.join('\n')}\n\`\`\`\n`;
}

function replyTable(): string {
  const lines = Object.entries(replySchemas).map(([t, schema]) => {
    const asked = rowsOf(optionOf(t) as z.core.$ZodType).map(
      ({ field, isOptional }) => `${field}${isOptional ? '?' : ''}`,
    );
    return `| \`${t}\` | ${asked.join(', ') || '–'} | ${typeOf(schema)} |`;
  });
  return `| request | fields | reply |\n|---|---|---|\n${lines.join('\n')}\n`;
}

function commandTable(): string {
  const lines = adminRequestSchema.options.map((option) => {
    const rows = rowsOf(option).map(
      ({ field, type, isOptional }) => `${field}${isOptional ? '?' : ''}: ${type}`,
    );
    return `| \`${option.shape.cmd.value}\` | ${rows.join('<br>') || '–'} |`;
  });
  return `| command | arguments |\n|---|---|\n${lines.join('\n')}\n`;
}
