/** Reading a client's socket in tests. */
import { once } from 'node:events';
import type { Socket } from 'node:net';

/** Reads exactly `bytes`. */
export async function take(client: Socket, bytes: number): Promise<string> {
  for (;;) {
    const got = client.read(bytes) as Buffer | null;
    if (got !== null) return got.toString('latin1');
    await once(client, 'readable');
  }
}

/** Reads to the end; unlike an async iterator it leaves the socket's other half open. */
export async function readAll(client: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  client.on('data', (chunk: Buffer) => chunks.push(chunk));
  if (!client.readableEnded) await once(client, 'end');
  return Buffer.concat(chunks);
}

/** Waits until `probe` is true; the test's own timeout bounds it. */
export async function until(probe: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await probe())) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** A code of a rejected promise. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'resolved';
  } catch (error) {
    return (error as { code: string }).code;
  }
}
