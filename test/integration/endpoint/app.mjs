// One endpoint process of the tests: several small applications, told what to do over IPC. Runs the built packages, so
// that it can also run on other versions of Node.
import { createHash } from 'node:crypto';
import { createEndpoint } from '@restitch/endpoint';
import { readFileSync, readdirSync } from 'node:fs';
import { TLSSocket } from 'node:tls';
import { createCounters } from '@restitch/core';
import { effectiveCapabilities } from '@restitch/sys';

const config = JSON.parse(process.argv[2]);
const counters = createCounters();
const log = (level) => (fields, message) => {
  if (config.verbose) console.error(config.name, level, message, JSON.stringify(fields));
};
const logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
const endpoint = createEndpoint({ ...config.endpoint, counters, logger });
const sessions = new Map();
const seen = [];
/** Busy tokens, by session. */
const held = new Map();
const lost = [];
endpoint.on('status', (status) => status.t === 'session-lost' && lost.push(status.session));
endpoint.on('close', () => seen.push('endpoint close'));

const applications = {
  // Not a line of code about moves.
  echo(session) {
    session.pipe(session);
  },
  /** Answers `n\n` with `n <count>\n`; the count travels. */
  lines(session) {
    session.state ??= { count: 0, rest: '' };
    session.on('data', (bytes) => {
      const parts = (session.state.rest + bytes.toString('latin1')).split('\n');
      session.state.rest = parts.pop();
      for (const line of parts) session.write(`${line} ${++session.state.count}\n`);
    });
  },
  /** Sends `bytes` of a pattern: its position is bytesWritten. */
  download(session) {
    const total = 32 * 1024 * 1024;
    const piece = Buffer.alloc(65536);
    const pump = () => {
      for (;;) {
        const at = session.bytesWritten;
        if (at >= total) return session.writableEnded ? undefined : session.end();
        const length = Math.min(piece.length, total - at);
        for (let i = 0; i < length; i++) piece[i] = ((at + i) * 7 + ((at + i) >> 9)) & 0xff;
        if (!session.write(Buffer.from(piece.subarray(0, length)))) return undefined;
      }
    };
    session.on('drain', pump);
    if (session.writable) pump();
  },
  /**
   * Answers each line with a number that depends on all before it. Knows that by a closure; says it in the state now and
   * then only. The same input gives the same output.
   */
  running(session, salt = 0) {
    let { count, sum, rest } = session.state ?? { count: 0, sum: salt, rest: '' };
    session.on('data', (bytes) => {
      const parts = (rest + bytes.toString('latin1')).split('\n');
      rest = parts.pop();
      for (const line of parts) {
        sum = (Math.imul(sum, 31) + line.length * 7 + ++count) >>> 0;
        session.write(`${line} ${sum}\n`);
      }
    });
    session.on('snapshot-due', () => {
      session.state = { count, sum, rest };
      session.commit();
    });
    session.on('end', () => session.end(`bye ${sum}\n`));
  },
  /** Is another one in each process. */
  moody(session) {
    applications.running(session, config.name.charCodeAt(0));
  },
  /** Reads nothing by itself. */
  idle() {},
};

function watch(session) {
  sessions.set(session.id, session);
  const note = (what) => seen.push(`${what}`);
  note(session.resumed ? `resumed ${session.resumeReason} ${session.moves}` : 'opened');
  for (const event of ['end', 'finish', 'close']) session.on(event, () => note(event));
  session.on('error', (error) => note(`error ${error.code}`));
  session.on('migrated', (move) => note(`migrated from ${move.from}`));
  session.onFreeze(() => note('onFreeze'));
  session.onThaw(() => note('onThaw'));
}

const commands = {
  seen: () => seen.splice(0),
  counters: () => Object.fromEntries(counters.entries()),
  sessions: () =>
    [...endpoint.sessions].map((s) => ({
      id: s.id,
      flow: s.flow,
      phase: s.phase,
      epoch: s.epoch,
      state: s.state,
      resumed: s.resumed,
      moves: s.moves,
      bytesRead: s.bytesRead,
      bytesWritten: s.bytesWritten,
      readableLength: s.readableLength,
      writableLength: s.writableLength,
    })),
  commit: ({ id }) => sessions.get(id).commit(),
  committed: ({ id, n }) => new Promise((resolve) => sessions.get(id).onCommitted(n, resolve)),
  lost: () => lost.splice(0),
  pin: ({ id, reason }) => void sessions.get(id).pin(reason),
  unpin: ({ id }) => void sessions.get(id).unpin(),
  busy: ({ id, ms }) => {
    const release = sessions.get(id).busy();
    if (ms === undefined) held.set(id, release);
    else setTimeout(release, ms);
  },
  idle: ({ id }) => void held.get(id)(),
  slowFreeze: ({ id, ms }) =>
    void sessions.get(id).onFreeze(() => new Promise((resolve) => setTimeout(resolve, ms))),
  badState: ({ id }) => void (sessions.get(id).state = { fine: true }, (sessions.get(id).state.bad = () => 1)),
  verdict: ({ id }) => {
    const session = sessions.get(id);
    return { should: session.shouldMigrate(), target: session.targetEndpoint() ?? null };
  },
  /** Asks, and if it stays answers its client as if nothing had been. */
  migrate: async ({ id, timeoutMs }) => {
    const session = sessions.get(id);
    const outcome = await session.migrate(timeoutMs === undefined ? {} : { timeoutMs });
    if (outcome.outcome === 'stayed') session.write('served here');
    return outcome;
  },
  write: ({ id, text }) => void sessions.get(id).write(text),
  writeMany: ({ id, bytes }) => void sessions.get(id).write(Buffer.alloc(bytes, 'w')),
  end: ({ id, text }) => void sessions.get(id).end(text),
  destroy: ({ id }) => void sessions.get(id).destroy(),
  read: ({ id }) => sessions.get(id).read()?.toString('latin1') ?? null,
  readHash: ({ id }) =>
    new Promise((resolve) => {
      const hash = createHash('sha256');
      let bytes = 0;
      sessions.get(id).on('data', (chunk) => {
        hash.update(chunk);
        bytes += chunk.length;
      });
      sessions.get(id).on('end', () => resolve({ bytes, sha256: hash.digest('hex') }));
    }),
  setOptions: ({ id }) => void sessions.get(id).setNoDelay(true).setKeepAlive(true, 33_000),
  tls: ({ id, keyFile, certFile }) =>
    void new TLSSocket(sessions.get(id), { isServer: true, key: readFileSync(keyFile), cert: readFileSync(certFile) }),
  whoami: () => ({ uid: process.getuid(), capabilities: [...effectiveCapabilities()] }),
  close: () => endpoint.close(),
  descriptors: () => readdirSync('/proc/self/fd').length,
};

process.on('message', async ({ n, command, args }) => {
  try {
    process.send({ n, result: (await commands[command](args ?? {})) ?? null });
  } catch (error) {
    process.send({ n, error: error.message });
  }
});
process.on('disconnect', () => process.exit());

for (const listener of config.listeners) {
  const upgrade = config.upgradeState
    ? { upgradeState: (state, from) => ({ ...state, upgradedFrom: from, ...(config.upgradeState === 'throw' ? undefinedName : {}) }) }
    : {};
  const protection = listener.protection === undefined ? {} : { protection: listener.protection };
  const options = { listener: listener.name, allowHalfOpen: listener.allowHalfOpen, ...protection, ...upgrade };
  const server = endpoint.createServer(options, (session) => {
    watch(session);
    applications[listener.application](session);
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: listener.address, port: listener.port }, resolve);
  });
}
process.send({ ready: true });
