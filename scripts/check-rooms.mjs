/**
 * Holds the code against docs/architecture.md: arrows one way between packages and between the wings of a package, no deep
 * imports, FFI in sys alone, analytics pure, BPF only where the daemon is started, the laboratory in no production package.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

const root = new URL('..', import.meta.url).pathname;

/** Every package, from the ground up, with what it may import. A package names only those above it in this list. */
const rooms = {
  core: [],
  wire: ['core'],
  sys: ['core'],
  channel: ['core', 'wire'],
  analytics: ['core', 'wire'],
  dataplane: ['core', 'sys'],
  guard: ['core', 'wire', 'sys', 'channel'],
  endpoint: ['core', 'wire', 'sys', 'channel', 'guard'],
  'access-point': ['core', 'wire', 'sys', 'channel', 'dataplane', 'guard', 'analytics'],
  pki: ['core', 'channel'],
  console: ['core', 'sys', 'dataplane', 'guard', 'endpoint'],
  cli: ['core', 'wire', 'sys', 'channel', 'analytics', 'guard', 'access-point', 'pki', 'console'],
  lab: [
    'core',
    'wire',
    'sys',
    'channel',
    'dataplane',
    'analytics',
    'guard',
    'endpoint',
    'access-point',
    'pki',
    'console',
  ],
};

/** Packages whose sources stand in wings, in the same order. Beside the wings stand only the doors. */
const wings = {
  wire: {
    codec: [],
    control: ['codec'],
    transfer: ['codec'],
    replication: ['codec', 'transfer'],
    agent: ['codec'],
    admin: ['codec', 'control'],
    vectors: ['codec', 'control', 'transfer', 'agent', 'admin'],
  },
  'access-point': {
    config: [],
    model: [],
    moves: ['config', 'model'],
    ownership: ['config', 'model'],
    failover: ['model', 'ownership'],
    analytics: ['config', 'model', 'moves'],
    control: ['config', 'model', 'moves', 'ownership', 'failover', 'analytics'],
    admin: ['config', 'model', 'moves', 'ownership', 'failover', 'analytics'],
    daemon: ['config', 'model', 'moves', 'ownership', 'failover', 'analytics', 'control', 'admin'],
    testing: ['config', 'model', 'moves', 'ownership', 'failover', 'analytics', 'control', 'admin', 'daemon'],
  },
  lab: {
    load: [],
    lab: ['load'],
    demo: ['load', 'lab'],
    bench: ['load', 'lab'],
  },
};

/** Values of a package that one file alone may import; types are free. */
const soleImporters = [
  { from: 'access-point', of: 'dataplane', file: 'packages/access-point/src/daemon/run-daemon.ts' },
  { from: 'cli', of: 'lab', file: 'packages/cli/src/lab/mount-lab.ts' },
];
const doors = ['index.ts', 'internal.ts'];
const maxLines = 600;
const faults = [];

assertOneWay('package', rooms);
for (const [room, plan] of Object.entries(wings)) assertOneWay(`wing of ${room}`, plan);
for (const room of readdirSync(join(root, 'packages'))) {
  if (rooms[room] === undefined) faults.push(`packages/${room}: not in the list of rooms`);
  else checkRoom(room);
}
for (const path of listFiles(join(root, 'bpf'))) checkLines(relative(root, path), readFileSync(path, 'utf8'));
for (const fault of faults) console.error(fault);
console.error(`rooms: ${faults.length} faults`);
process.exitCode = faults.length ? 1 : 0;

/** What names only what stands before it has no cycle. */
function assertOneWay(what, plan) {
  const seen = new Set();
  for (const [name, below] of Object.entries(plan)) {
    for (const other of below) if (!seen.has(other)) faults.push(`${what} ${name}: arrow up to ${other}`);
    seen.add(name);
  }
}

function checkRoom(room) {
  const directory = join(root, 'packages', room);
  const isUsed = new Set();
  for (const path of listFiles(directory)) {
    const text = readFileSync(path, 'utf8');
    const file = {
      room,
      name: relative(root, path),
      inSource: relative(join(directory, 'src'), path),
      isTest: path.endsWith('.test.ts'),
    };
    checkLines(file.name, text);
    if (!path.endsWith('.ts')) continue;
    checkPlace(file);
    checkText(file, text);
    for (const found of listImports(text)) {
      checkPackageImport(file, found, isUsed);
      checkWing(file, found);
    }
  }
  checkManifest(room, isUsed);
}

function checkLines(name, text) {
  const lines = text.split('\n').length - 1;
  if (lines > maxLines) faults.push(`${name}: ${lines} lines, the bound is ${maxLines}`);
}

function listFiles(directory) {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    if (['node_modules', 'dist', 'build'].includes(entry.name)) return [];
    const path = join(directory, entry.name);
    return entry.isDirectory() ? listFiles(path) : /\.(ts|c|h)$/.test(entry.name) ? [path] : [];
  });
}

/** Imports and exports from elsewhere: `how` is `type` where nothing is left of them when the program runs. */
function listImports(text) {
  const statements = [...text.matchAll(/^(?:import|export)(\s+type)?\s[^;']*?from\s*'([^']+)'/gm)];
  const bare = [...text.matchAll(/^import\s*'([^']+)'/gm)];
  const calls = [...text.matchAll(/(typeof\s+)?import\(\s*'([^']+)'/g)];
  return [
    ...statements.map(([, type, from]) => ({ from, how: type === undefined ? 'value' : 'type' })),
    ...bare.map(([, from]) => ({ from, how: 'value' })),
    ...calls.map(([, type, from]) => ({ from, how: type === undefined ? 'lazy' : 'type' })),
  ];
}

function checkPlace({ room, name, inSource }) {
  if (wings[room] === undefined || inSource.startsWith('..')) return;
  const [wing, ...rest] = inSource.split('/');
  if (rest.length === 0 && !doors.includes(wing)) faults.push(`${name}: stands beside the doors of ${room}, in no wing`);
  if (rest.length > 0 && wings[room][wing] === undefined) faults.push(`${name}: ${wing} is no wing of ${room}`);
}

function checkText({ name, isTest }, text) {
  if (/\bexport default\b/.test(text)) faults.push(`${name}: default export`);
  if (/\bDate\.now\(\)/.test(text) && !name.endsWith('core/src/clock.ts') && !isTest)
    faults.push(`${name}: Date.now() outside core/src/clock.ts`);
  if (/\/(index)\.ts$/.test(name) && /export \*/.test(text)) faults.push(`${name}: export * at a public door`);
}

function checkPackageImport({ room, name, isTest }, { from, how }, isUsed) {
  if (from === 'koffi' && room !== 'sys') faults.push(`${name}: koffi belongs in sys`);
  if (room === 'analytics' && !isTest && from.startsWith('node:')) faults.push(`${name}: analytics imports ${from}`);
  if (/^\.\.\/\.\.\/\.\.?\/.*packages|\/(src|dist)\//.test(from) && from.startsWith('.') && !isTest)
    faults.push(`${name}: import ${from} leaves its room`);
  const [, other, door] = from.match(/^@restitch\/([a-z-]+)(\/.*)?$/) ?? [];
  if (other === undefined) return;
  if (door !== undefined && door !== '/internal') faults.push(`${name}: deep import ${from}`);
  isUsed.add(other);
  const sole = soleImporters.find((s) => s.from === room && s.of === other);
  // What one file alone may import, and the room may not as such, is loaded when it is asked for.
  const isOptional = sole !== undefined && !rooms[room].includes(other);
  if (sole === undefined ? !rooms[room].includes(other) : isOptional && how === 'value')
    faults.push(`${name}: ${room} must not import ${other}`);
  if (sole !== undefined && how !== 'type' && name !== sole.file && !isTest)
    faults.push(`${name}: only ${sole.file} may import ${other}`);
}

function checkWing({ room, name, inSource, isTest }, { from }) {
  const plan = wings[room];
  const [wing, ...rest] = inSource.split('/');
  if (plan?.[wing] === undefined || rest.length === 0 || !from.startsWith('.')) return;
  const [other, ...below] = join(inSource, '..', from).split('/');
  if (other === '..' || other === wing) return;
  // Tests stand beside what they test and may put a whole daemon together for it.
  const isAllowed = plan[wing].includes(other) || (isTest && plan[other] !== undefined);
  if (below.length === 0) faults.push(`${name}: a wing must not import the door ${from}`);
  else if (!isAllowed) faults.push(`${name}: wing ${wing} must not import ${from}`);
}

/** What is imported is declared, to npm and to the compiler, and nothing else of ours is. */
function checkManifest(room, isUsed) {
  const read = (file) => JSON.parse(readFileSync(join(root, 'packages', room, file), 'utf8'));
  const { dependencies = {}, peerDependencies = {} } = read('package.json');
  const ours = Object.keys({ ...dependencies, ...peerDependencies }).filter((name) => name.startsWith('@restitch/'));
  compare(`packages/${room}/package.json`, new Set(ours.map((name) => name.slice('@restitch/'.length))));
  compare(`packages/${room}/tsconfig.json`, new Set(read('tsconfig.json').references.map(({ path }) => path.slice(3))));

  function compare(file, declared) {
    for (const name of isUsed) if (!declared.has(name)) faults.push(`${file}: ${name} is imported and not declared`);
    for (const name of declared) if (!isUsed.has(name)) faults.push(`${file}: ${name} is declared and not imported`);
  }
}
