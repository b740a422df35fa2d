/** Reading a client's socket in tests. */
import { once } from 'node:events';
import type { Socket } from 'node:net';

/** Reads exactly `bytes`; more that has come stays unread. */
export async function take(client: Socket, bytes: number): Promise<string> {
  let got = Buffer.alloc(0);
  for (;;) {
    const chunk = client.read() as Buffer | null;
    if (chunk !== null) got = Buffer.concat([got, chunk]);
    if (got.length >= bytes) break;
    if (chunk === null) await once(client, 'readable');
  }
  if (got.length > bytes) client.unshift(got.subarray(bytes));
  return got.subarray(0, bytes).toString('latin1');
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
