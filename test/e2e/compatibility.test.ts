/**
 * Parties of the last commit before 1.1 and of this one, together: moves, and take-overs after kill -9. The whole of it, with
 * rolling restarts, is `node scripts/compatibility.mjs`.
 */
import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const script = fileURLToPath(new URL('../../scripts/compatibility.mjs', import.meta.url));
const [, commit = ''] = /^const commit = '([0-9a-f]{40})';$/m.exec(readFileSync(script, 'utf8')) ?? [];
const root = fileURLToPath(new URL('../..', import.meta.url));
const hasHistory = spawnSync('git', ['-C', root, 'cat-file', '-e', `${commit}^{commit}`]).status === 0;

describe('an older and a newer version', () => {
  it.skipIf(!hasHistory)(
    hasHistory
      ? 'move and take over each other`s sessions, and no client notices'
      : `(skipped: this clone has no commit ${commit}; git fetch --unshallow brings it)`,
    async () => {
      const { stdout } = await run(process.execPath, [script, '--quick'], { timeout: 580_000 });
      const results = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(results.map((r) => [r['experiment'], r['isFine']])).toEqual([
        ['move', true],
        ['crash', true],
        ['move', true],
        ['crash', true],
      ]);
      expect(results.filter((r) => Number(r['taken']) > 0)).toHaveLength(2);
    },
    600_000,
  );
});
