/**
 * Makes, of the type information (BTF) of bpf/NAME/layouts.bpf.c, the numbers and offsets that TypeScript uses, and the record of
 * what pinned maps hold.
 *
 * usage: node scripts/generate-layouts.mjs [--check]      --check: writes nothing, fails where a file is not what would be written
 *
 * The record of a layout version (bpf/NAME/pinned/layout-N.txt) is written once and never written over: whoever changes what
 * pinned maps hold raises LAYOUT_VERSION, or programs of two versions would read each other's maps wrongly.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = new URL('..', import.meta.url).pathname;

/**
 * An enum becomes a `record` of its numbers, a list of its `names` in order (numbers from 0, an enumerator _COUNT left out), or
 * a `number` if it has one. Not `pinned` is what the programs and whoever has loaded them say to each other, and nobody else.
 */
const plans = [
  {
    sources: 'bpf/steering',
    output: 'packages/dataplane/src/layout.generated.ts',
    hasMapNames: true,
    enums: {
      layout: { as: 'layoutVersion', form: 'number' },
      bound: { as: 'bounds', form: 'record' },
      flow_state: { as: 'flowStates', form: 'record', prefix: 'STATE_' },
      record_flag: { as: 'recordFlags', form: 'record', prefix: 'FLAG_' },
      forward_action: { as: 'forwardActions', form: 'record', prefix: 'ACTION_' },
      verdict: { as: 'verdictNames', form: 'names', prefix: 'VERDICT_', separator: '_' },
      command_op: { as: 'commandOps', form: 'record', prefix: 'OP_', separator: '-', isPinned: false },
      command_result: { as: 'commandResults', form: 'names', prefix: 'RESULT_', isPinned: false },
    },
    structs: [
      'record_word',
      'flow_value',
      'half_open_value',
      'service_key',
      'service_value',
      'endpoint_value',
      'endpoint_counters',
      'settings',
      'gauges',
      'command',
    ],
  },
  {
    sources: 'bpf/guard',
    output: 'packages/guard/src/kernel/layout.generated.ts',
    enums: {
      guard_layout: { as: 'guardLayoutVersion', form: 'number' },
      guard_bound: { as: 'guardBounds', form: 'record' },
      guard_flag: { as: 'guardFlags', form: 'record', prefix: 'FLAG_' },
      guard_verdict: { as: 'guardVerdicts', form: 'names', prefix: 'VERDICT_' },
      guard_op: { as: 'guardOps', form: 'record', prefix: 'OP_' },
      guard_result: { as: 'guardResults', form: 'names', prefix: 'RESULT_' },
    },
    structs: ['flow_key', 'guard_flow', 'half_open_flow', 'listener_key', 'listener_value', 'guard_command', 'witness'],
  },
];

const isCheck = process.argv.includes('--check');
const faults = [];
for (const plan of plans) generate(plan);
for (const fault of faults) console.error(`layouts: ${fault}`);
console.error(`layouts: ${faults.length} faults`);
process.exitCode = faults.length > 0 ? 1 : 0;

function generate(plan) {
  const btf = readBtf(compile(plan.sources));
  const enums = btf.all.filter((type) => type.kind === 'ENUM');
  for (const { name, size } of enums) {
    if (plan.enums[name] === undefined) faults.push(`${plan.sources}: enum ${name} is not in scripts/generate-layouts.mjs`);
    if (size !== 4) faults.push(`${plan.sources}: enum ${name} has ${size} bytes, and clang 14 cuts its numbers to 4`);
  }
  for (const name of Object.keys(plan.enums))
    if (!enums.some((type) => type.name === name)) faults.push(`${plan.sources}/layouts.bpf.c: enum ${name} is missing`);
  if (faults.length > 0) return;
  checkPinned(plan, btf);
  if (faults.length > 0) return;
  put(join(root, plan.output), plan.output, toTypeScript(plan, btf));
}

/** One file per version, which is never changed; the version is the one of the newest file. */
function checkPinned(plan, btf) {
  const directory = join(root, plan.sources, 'pinned');
  mkdirSync(directory, { recursive: true });
  const version = btf.all.find((type) => plan.enums[type.name]?.form === 'number').values[0].val;
  const known = readdirSync(directory).map((name) => Number(/^layout-(\d+)\.txt$/.exec(name)?.[1]));
  const text = toRecord(plan, btf, version);
  const name = `${plan.sources}/pinned/layout-${version}.txt`;
  if (known.some((other) => other > version)) {
    faults.push(`${plan.sources}: LAYOUT_VERSION is ${version}, and there is a record of a later one`);
    return;
  }
  if (!known.includes(version)) {
    put(join(root, name), name, text);
    return;
  }
  const [before, now] = [readFileSync(join(root, name), 'utf8').split('\n'), text.split('\n')];
  const first = now.findIndex((line, i) => line !== before[i]);
  if (first < 0 && now.length === before.length) return;
  const [was, is] = [before, now].map((lines) => `"${(lines[first < 0 ? now.length : first] ?? '').trim()}"`);
  faults.push(`${name}: was ${was}, is ${is}: what is pinned has changed, raise LAYOUT_VERSION in ${plan.sources}/consts.h`);
}

function put(path, name, text) {
  let known;
  try {
    known = readFileSync(path, 'utf8');
  } catch {
    known = undefined;
  }
  if (known === text) return;
  if (!isCheck) {
    writeFileSync(path, text);
    console.error(`layouts: wrote ${name}`);
    return;
  }
  const lines = text.split('\n');
  const first = lines.findIndex((line, i) => line !== known?.split('\n')[i]);
  const where = known === undefined ? 'is missing' : `line ${first + 1} is not "${lines[first]?.trim()}"`;
  faults.push(`${name}: ${where}: run node scripts/generate-layouts.mjs`);
}

/** The object's type information as bpftool tells it. */
function compile(sources) {
  const directory = mkdtempSync(join(tmpdir(), 'restitch-layouts-'));
  try {
    const object = join(directory, 'layouts.bpf.o');
    const machine = run('uname', ['-m']).trim();
    const include = `-I/usr/include/${machine}-linux-gnu`;
    const options = ['-O2', '-g', '-Wall', '-Werror', '-Wno-unused-function', '-target', 'bpf', '-mcpu=v3', include];
    run('clang', [...options, '-c', join(root, sources, 'layouts.bpf.c'), '-o', object]);
    return JSON.parse(run('bpftool', ['-j', 'btf', 'dump', 'file', object])).types;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Where Debian has bpftool, a user's path has no entry. */
function run(command, args) {
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  try {
    return execFileSync(command, args, { encoding: 'utf8', env, maxBuffer: 1 << 26, stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    if (error.code === 'ENOENT') console.error(`layouts: ${command} is not installed; on Debian: apt-get install clang libbpf-dev bpftool`);
    else console.error(`layouts: ${command} failed:\n${error.stderr ?? error.message}`);
    process.exit(2);
  }
}

/** Types by id, and what one asks of them. */
function readBtf(all) {
  const byId = new Map(all.map((type) => [type.id, type]));
  const bare = (id) => {
    const type = byId.get(id);
    return ['TYPEDEF', 'CONST', 'VOLATILE'].includes(type.kind) ? bare(type.type_id) : type;
  };
  const sizeOf = (type) => (type.kind === 'ARRAY' ? type.nr_elems * sizeOf(bare(type.type_id)) : type.size);
  const nameOf = (type) => {
    if (type.kind === 'ARRAY') return `${nameOf(bare(type.type_id))}[${type.nr_elems}]`;
    if (type.kind === 'INT') return `${type.encoding === 'SIGNED' ? 's' : 'u'}${type.nr_bits}`;
    return `${type.kind.toLowerCase()} ${type.name}`;
  };
  // libbpf writes a number as the length of an array that is pointed to, a type as what is pointed to.
  const pointed = (id) => bare(byId.get(id).type_id);
  const toMap = (variable) => {
    const parts = Object.fromEntries(byId.get(variable.type_id).members.map((member) => [member.name, member.type_id]));
    return { name: variable.name, ...toParts(parts) };
  };
  const toParts = (parts) => {
    const number = (name) => (parts[name] === undefined ? undefined : pointed(parts[name]).nr_elems);
    const type = (name) => (parts[name] === undefined ? undefined : pointed(parts[name]));
    const inner = parts.values === undefined ? undefined : pointed(bare(parts.values).type_id);
    return {
      type: number('type'),
      flags: number('map_flags') ?? 0,
      entries: number('max_entries'),
      key: type('key'),
      value: type('value'),
      valueBytes: number('value_size'),
      inner: inner && toParts(Object.fromEntries(inner.members.map((member) => [member.name, member.type_id]))),
    };
  };
  const section = all.find((type) => type.kind === 'DATASEC' && type.name === '.maps');
  const maps = section.vars.map(({ type_id }) => toMap(byId.get(type_id)));
  return { all, bare, sizeOf, nameOf, maps };
}

/** What pinned maps hold, down to the last field and number. */
function toRecord(plan, btf, version) {
  const lines = [`Layout ${version} of ${plan.sources}, as scripts/generate-layouts.mjs found it. It never changes: see there.`];
  for (const map of btf.maps) {
    lines.push('', `map ${map.name}`, ...describeMap(map, btf, '  '));
  }
  const word = btf.all.find((type) => type.kind === 'STRUCT' && type.name === 'record_word');
  if (word !== undefined) lines.push('', 'word of a record', ...describe(word, btf, '  '));
  // Of another program's pinned control program.
  const command = btf.all.find((type) => type.kind === 'STRUCT' && type.name === 'guard_command');
  if (command !== undefined) lines.push('', 'command', ...describe(command, btf, '  '));
  for (const { kind, name, values } of btf.all) {
    if (kind !== 'ENUM' || plan.enums[name].form === 'number' || plan.enums[name].isPinned === false) continue;
    lines.push('', `enum ${name}`, ...values.map((each) => `  ${each.name} ${each.val}`));
  }
  return `${lines.join('\n')}\n`;
}

function describeMap({ type, flags, entries, key, value, valueBytes, inner }, btf, indent) {
  const lines = [`${indent}type ${type}, flags ${flags}, entries ${entries ?? 'as loaded'}`];
  if (key !== undefined) lines.push(`${indent}key`, ...describe(key, btf, `${indent}  `));
  if (value !== undefined) lines.push(`${indent}value`, ...describe(value, btf, `${indent}  `));
  if (valueBytes !== undefined) lines.push(`${indent}value of ${valueBytes} bytes`);
  if (inner !== undefined) lines.push(`${indent}of maps`, ...describeMap(inner, btf, `${indent}  `));
  return lines;
}

/** A struct with its fields, inner structs spread out. */
function describe(type, btf, indent, at = 0) {
  const element = type.kind === 'ARRAY' ? btf.bare(type.type_id) : type;
  if (element.kind !== 'STRUCT') return [`${indent}${btf.nameOf(type)}`];
  const lines = [`${indent}${btf.nameOf(type)}, ${btf.sizeOf(type)} bytes`];
  for (const member of element.members) {
    const field = btf.bare(member.type_id);
    const place = at * 8 + member.bits_offset;
    const isStruct = field.kind === 'STRUCT' || (field.kind === 'ARRAY' && btf.bare(field.type_id).kind === 'STRUCT');
    if (member.bitfield_size) lines.push(`${indent}  ${member.name}: bits ${place} to ${place + member.bitfield_size - 1}`);
    else if (!isStruct) lines.push(`${indent}  ${member.name}: ${btf.nameOf(field)} at ${place / 8}`);
    else lines.push(`${indent}  ${member.name} at ${place / 8}`, ...describe(field, btf, `${indent}    `, place / 8));
  }
  return lines;
}

function toTypeScript(plan, btf) {
  const parts = [`/** Of ${plan.sources}, by scripts/generate-layouts.mjs: do not edit, change the C and run that. */\n`];
  if (plan.hasMapNames) parts.push(`/** Every map, all of them pinned. */\n${list('mapNames', btf.maps.map((map) => map.name))}`);
  for (const [name, how] of Object.entries(plan.enums)) {
    const { values } = btf.all.find((type) => type.kind === 'ENUM' && type.name === name);
    parts.push(`/** enum ${name} */\n${toConstant(how, values)}`);
  }
  for (const name of plan.structs) {
    const struct = btf.all.find((type) => type.kind === 'STRUCT' && type.name === name);
    parts.push(`/** struct ${name}: its size and where its fields are, in bytes${hasBits(struct) ? ' and bits' : ''}. */\n${toOffsets(struct)}`);
  }
  return parts.join('\n');
}

function hasBits(struct) {
  return struct.members.some((member) => member.bitfield_size);
}

function toConstant({ as, form, prefix = '', separator }, values) {
  const named = values.map(({ name, val }) => {
    if (!name.startsWith(prefix)) faults.push(`${name} does not begin with ${prefix}`);
    return [toName(name.slice(prefix.length), separator), val];
  });
  if (form === 'number') return `export const ${as} = ${named[0][1]};\n`;
  if (form === 'record') return record(as, named);
  const isCounted = values.at(-1).name === `${prefix}COUNT`;
  named.forEach(([name, value], i) => {
    if (value !== i) faults.push(`${as}: ${name} is ${value}, but a list of names has it at ${i}`);
  });
  return list(as, named.slice(0, isCounted ? -1 : undefined).map(([name]) => name));
}

function toOffsets(struct) {
  const fields = struct.members.filter((member) => !member.name.startsWith('reserved'));
  return record(`${toName(struct.name)}Layout`, [
    ['sizeBytes', struct.size],
    ...fields.map(({ name, bits_offset: at, bitfield_size: bits }) =>
      bits ? [toName(name), `{ at: ${at}, bits: ${bits} }`] : [toName(name), at / 8],
    ),
  ]);
}

/** As TypeScript writes names, or lower case with the separator. */
function toName(name, separator) {
  const words = name.toLowerCase().split('_');
  if (separator !== undefined) return words.join(separator);
  return words.map((word, i) => (i === 0 ? word : word[0].toUpperCase() + word.slice(1))).join('');
}

function record(as, entries) {
  const keyOf = (name) => (/^\w+$/.test(name) ? name : `'${name}'`);
  return `export const ${as} = {\n${entries.map(([name, value]) => `  ${keyOf(name)}: ${value},\n`).join('')}} as const;\n`;
}

/** On one line where the formatter would have it so. */
function list(as, names) {
  const line = `export const ${as} = [${names.map((name) => `'${name}'`).join(', ')}] as const;\n`;
  if (line.length <= 111) return line;
  return `export const ${as} = [\n${names.map((name) => `  '${name}',\n`).join('')}] as const;\n`;
}
