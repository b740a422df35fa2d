// Orders that are stored exactly once, though the server that stores them may be killed at any instant.
// Needs the host agent (docs/crash.md): "guard": {"agentSocket": …} in the endpoint's options.
// usage: node examples/orders.js CONFIG.json
import { link, readFile, rm, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { createEndpoint } from '@restitch/endpoint';

const { endpoint: options, listen, directory } = JSON.parse(readFileSync(process.argv[2], 'utf8'));

/**
 * Stands for a database that all endpoints share: a row is a file, its name the key, and link(2) makes it whole or not
 * at all. In SQL: INSERT … ON CONFLICT (session, n) DO NOTHING.
 */
async function insertOnce(key, value) {
  const row = `${directory}/${key}`;
  const draft = `${row}.${process.pid}.draft`;
  await writeFile(draft, value);
  try {
    await link(draft, row);
  } catch (error) {
    // Stored before the crash; whoever finds another order under this key has a fault of his own.
    if (error.code !== 'EEXIST' || (await readFile(row, 'utf8')) !== value) throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

const server = createEndpoint(options).createServer({ protection: { level: 'commit' } }, (session) => {
  session.state ??= { n: 0, rest: '' };
  const { state } = session;

  async function store(lines) {
    // No more until these are stored. And from here to `done` there is no safe point: after a crash the heir reads these
    // lines again and gives each the number it had before. Number and session make the key: storing it again changes nothing.
    session.pause();
    const done = session.busy();
    for (const line of lines) {
      await insertOnce(`${session.id}-${state.n + 1}`, line);
      session.write(`stored ${++state.n}\n`);
    }
    // State and answers leave together, when the buddy has both: no client hears "stored" of what could be forgotten.
    done();
    session.resume();
  }

  session.on('data', (bytes) => {
    const lines = (state.rest + bytes.toString('latin1')).split('\n');
    state.rest = lines.pop();
    if (lines.length > 0) store(lines).catch((error) => session.destroy(error));
  });
  session.on('error', (error) => console.error(error.message));
});

server.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
server.listen(listen, () => console.log('listening', server.address()));
process.on('SIGTERM', () => server.close());
