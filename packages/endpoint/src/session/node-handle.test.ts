import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { assertNodeSupported } from './node-handle.js';

describe('this Node', () => {
  it('has the handles, and another version or one without them is refused by name', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    expect(() => assertNodeSupported(server)).not.toThrow();
    expect(() => assertNodeSupported(server, '20.0.0')).not.toThrow();
    for (const version of ['18.20.0', '27.0.0', 'unknown']) {
      expect(() => assertNodeSupported(server, version)).toThrow(/Node\.js .* is not among 20\.\.26/);
    }
    server.close();
    await once(server, 'close');
    expect(() => assertNodeSupported(server)).toThrow(/does not have _handle\.fd/);
  });
});
