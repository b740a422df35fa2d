/** Holds the imports against docs/architecture.md: arrows one way, no deep imports, FFI in sys alone, analytics pure. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

const root = new URL('..', import.meta.url).pathname;
const allowed = {
  core: [],
  sys: ['core'],
  channel: ['core'],
  analytics: ['core'],
  dataplane: ['core', 'sys'],
  guard: ['core', 'sys', 'channel'],
  endpoint: ['core', 'sys', 'channel', 'guard'],
  'access-point': ['core', 'sys', 'channel', 'dataplane', 'guard', 'analytics'],
  pki: ['core', 'channel'],
  console: ['core', 'sys', 'dataplane', 'guard', 'endpoint'],
  lab: ['core', 'sys', 'channel', 'dataplane', 'analytics', 'guard', 'endpoint', 'access-point', 'pki', 'console'],
  cli: ['core', 'sys', 'channel', 'analytics', 'guard', 'access-point', 'pki', 'console', 'lab'],
};
const maxLines = 600;
const faults = [];

const files = (dir) =>
  readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    if (['node_modules', 'dist', 'build'].includes(entry.name)) return [];
    const path = join(dir, entry.name);
    return entry.isDirectory() ? files(path) : /\.(ts|c|h)$/.test(entry.name) ? [path] : [];
  });

for (const room of Object.keys(allowed)) {
  let all;
  try {
    all = files(join(root, 'packages', room));
  } catch {
    continue;
  }
  for (const file of all) {
    const text = readFileSync(file, 'utf8');
    const name = relative(root, file);
    const lines = text.split('\n').length - 1;
    if (lines > maxLines) faults.push(`${name}: ${lines} lines, the bound is ${maxLines}`);
    if (!file.endsWith('.ts')) continue;
    const isTest = file.endsWith('.test.ts');
    for (const [, from] of text.matchAll(/(?:from|import\()\s*'([^']+)'/g)) {
      const own = from.match(/^@restitch\/([a-z-]+)(\/.*)?$/);
      if (own) {
        if (!allowed[room].includes(own[1])) faults.push(`${name}: ${room} must not import ${own[1]}`);
        if (own[2] && own[2] !== '/internal') faults.push(`${name}: deep import ${from}`);
      }
      if (from === 'koffi' && room !== 'sys') faults.push(`${name}: koffi belongs in sys`);
      if (room === 'analytics' && !isTest && from.startsWith('node:')) faults.push(`${name}: analytics imports ${from}`);
      if (/^\.\.\/\.\.\/\.\.?\/.*packages|\/(src|dist)\//.test(from) && from.startsWith('.') && !isTest)
        faults.push(`${name}: import ${from} leaves its room`);
    }
    if (/\bexport default\b/.test(text)) faults.push(`${name}: default export`);
    if (/\bDate\.now\(\)/.test(text) && !name.endsWith('core/src/clock.ts') && !isTest) faults.push(`${name}: Date.now() outside core/src/clock.ts`);
    if (/\/(index)\.ts$/.test(name) && /export \*/.test(text)) faults.push(`${name}: export * at a public door`);
  }
}
for (const fault of faults) console.error(fault);
console.error(`rooms: ${faults.length} faults`);
process.exitCode = faults.length ? 1 : 0;
