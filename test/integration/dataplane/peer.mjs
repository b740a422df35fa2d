/** Runs inside a party's namespace: TCP server that greets with its name and echoes; numbered connections as a client. */
import net from 'node:net';

const sockets = new Map();
const servers = [];

const actions = {
  serve({ port, greeting }) {
    return new Promise((resolve, reject) => {
      const server = net.createServer((socket) => {
        socket.on('error', () => undefined);
        socket.setNoDelay(true);
        socket.write(greeting);
        socket.pipe(socket);
      });
      server.on('error', reject);
      server.listen({ port, host: '::', ipv6Only: false }, () => resolve(null));
      servers.push(server);
    });
  },
  /** Answers when the greeting is there. */
  connect({ name, host, port, timeoutMs = 5000 }) {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ host, port });
      const state = { socket, received: [], waiting: undefined, ended: undefined };
      const timer = setTimeout(() => (socket.destroy(), reject(new Error('connect timed out'))), timeoutMs);
      sockets.set(name, state);
      socket.setNoDelay(true);
      socket.once('data', (data) => {
        clearTimeout(timer);
        socket.on('data', (more) => {
          state.received.push(more);
          state.waiting?.();
        });
        resolve({ greeting: data.toString(), port: socket.localPort });
      });
      socket.on('error', (error) => {
        state.ended = error.code;
        reject(error);
      });
      socket.on('close', () => (state.ended ??= 'closed'));
    });
  },
  /** Answers when the handshake is over for this side; nothing has to come from the other. */
  'connect-only'({ name, host, port }) {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ host, port });
      const state = { socket, received: [], waiting: undefined, ended: undefined };
      sockets.set(name, state);
      socket.setNoDelay(true);
      socket.on('data', (data) => state.received.push(data));
      socket.on('connect', () => resolve({ port: socket.localPort }));
      socket.on('error', (error) => {
        state.ended = error.code;
        reject(error);
      });
      socket.on('close', () => (state.ended ??= 'closed'));
    });
  },
  send({ name, text }) {
    sockets.get(name).socket.write(text);
    return null;
  },
  /** Waits for so many echoed bytes in all, answers the text since the last time. */
  receive({ name, bytes, timeoutMs = 5000 }) {
    const state = sockets.get(name);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        state.waiting = undefined;
        reject(new Error(`received ${size()} of ${bytes}`));
      }, timeoutMs);
      const size = () => state.received.reduce((sum, part) => sum + part.length, 0);
      state.waiting = () => {
        if (size() < bytes) return;
        clearTimeout(timer);
        state.waiting = undefined;
        const text = Buffer.concat(state.received).toString();
        state.received = [];
        resolve(text);
      };
      state.waiting();
    });
  },
  /** Echo rounds for `ms`; answers rounds and the worst round trip. */
  async rounds({ name, ms }) {
    const { socket } = sockets.get(name);
    const end = performance.now() + ms;
    let count = 0;
    let worstMs = 0;
    while (performance.now() < end) {
      const start = performance.now();
      const text = `${count}`.padStart(32, '.');
      socket.write(text);
      const echoed = await actions.receive({ name, bytes: 32 });
      if (echoed !== text) throw new Error(`sent ${text}, received ${echoed}`);
      worstMs = Math.max(worstMs, performance.now() - start);
      count += 1;
    }
    return { count, worstMs };
  },
  /** Sends pseudo-random bytes and compares their echo. */
  bulk({ name, bytes }) {
    const { socket } = sockets.get(name);
    socket.removeAllListeners('data');
    const block = Buffer.from(Array.from({ length: 65537 }, (_, i) => (i * 2654435761) >>> 24));
    const at = (offset, length) => {
      const start = offset % block.length;
      return block.subarray(start, Math.min(block.length, start + length));
    };
    return new Promise((resolve) => {
      let sent = 0;
      let received = 0;
      const push = () => {
        while (sent < bytes) {
          const part = at(sent, bytes - sent);
          sent += part.length;
          if (!socket.write(part)) break;
        }
      };
      socket.on('drain', push);
      socket.on('data', (data) => {
        for (let i = 0; i < data.length; ) {
          const part = at(received, data.length - i);
          if (part.compare(data, i, i + part.length) !== 0) return resolve(`differs at ${received}`);
          i += part.length;
          received += part.length;
        }
        if (received === bytes) resolve('identical');
      });
      push();
    });
  },
  close({ name, reset }) {
    const { socket } = sockets.get(name);
    if (reset) socket.resetAndDestroy();
    else socket.end();
    return null;
  },
  /**
   * How the connection ended, null if it still stands after `withinMs`: its kernel knows of a reset some turns of the
   * loop before its application does.
   */
  async ended({ name, withinMs = 0 }) {
    const state = sockets.get(name);
    const end = performance.now() + withinMs;
    while (state.ended === undefined && performance.now() < end)
      await new Promise((resolve) => setTimeout(resolve, 2));
    return state.ended ?? null;
  },
};

process.on('message', async ({ id, action, ...request }) => {
  try {
    process.send({ id, value: (await actions[action](request)) ?? null });
  } catch (error) {
    process.send({ id, error: `${action}: ${error.message}` });
  }
});
process.on('disconnect', () => process.exit());
