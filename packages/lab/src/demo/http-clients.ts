/** The demo's long HTTP transfers: plain curl in the client's namespace, checked by SHA-256 from outside. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import type { Lab } from '../lab/lab.js';
import { patternAt, patternSha256 } from '../load/clients/pattern.js';
import { protectedPorts } from '../lab/lab-plan.js';

/** How a transfer ended. */
export interface TransferResult {
  readonly name: 'download' | 'upload';
  readonly bytes: number;
  readonly isRight: boolean;
  readonly seconds: number;
  /** What was wrong, if anything was. */
  readonly trouble?: string;
}

/** A transfer under way. */
export interface Transfer {
  readonly name: TransferResult['name'];
  /** Bytes the client has so far; 0 for an upload until it ends. */
  readonly doneBytes: () => number;
  readonly result: Promise<TransferResult>;
}

/** Starts `curl` downloading `bytes` at `bytesPerSec`; its output is hashed here. */
export function startDownload(lab: Lab, bytes: number, bytesPerSec: number): Transfer {
  const startedMs = performance.now();
  const child = startCurl(lab, [...limits(bytesPerSec), url(lab, `/bytes/${bytes}`)]);
  const hash = createHash('sha256');
  let received = 0;
  child.stdout?.on('data', (piece: Buffer) => {
    received += piece.length;
    hash.update(piece);
  });
  const finish = async (): Promise<TransferResult> => {
    const code = await exitOf(child);
    const isRight = code === 0 && received === bytes && hash.digest('hex') === patternSha256(bytes);
    const trouble = isRight ? {} : { trouble: `curl ended with ${code} after ${received} of ${bytes} bytes` };
    return { name: 'download', bytes: received, isRight, seconds: secondsSince(startedMs), ...trouble };
  };
  return { name: 'download', doneBytes: () => received, result: finish() };
}

/** Starts `curl` uploading `bytes` at `bytesPerSec`; the server answers with the hash of what it got. */
export async function startUpload(lab: Lab, bytes: number, bytesPerSec: number): Promise<Transfer> {
  const file = `${lab.plan.directory}/upload.bin`;
  await writePattern(file, bytes);
  const startedMs = performance.now();
  const child = startCurl(lab, [
    ...limits(bytesPerSec),
    '-X',
    'POST',
    '-T',
    file,
    '-H',
    'Expect:',
    url(lab, '/hash'),
  ]);
  let answer = '';
  child.stdout?.on('data', (piece: Buffer) => {
    answer += piece.toString('latin1');
  });
  const finish = async (): Promise<TransferResult> => {
    const code = await exitOf(child);
    const isRight = code === 0 && answer.trim() === patternSha256(bytes);
    const trouble = isRight
      ? {}
      : { trouble: `curl ended with ${code}, the server answered ${answer.trim()}` };
    return { name: 'upload', bytes, isRight, seconds: secondsSince(startedMs), ...trouble };
  };
  return { name: 'upload', doneBytes: () => 0, result: finish() };
}

function startCurl(lab: Lab, args: readonly string[]): ChildProcess {
  return spawn('nsenter', [`--net=/run/netns/${lab.plan.client.namespace}`, '--', 'curl', '-sS', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

function limits(bytesPerSec: number): string[] {
  return ['--limit-rate', String(Math.round(bytesPerSec)), '--max-time', '120'];
}

function url(lab: Lab, path: string): string {
  return `http://${lab.plan.vipIpv4}:${protectedPorts.filesNone}${path}`;
}

async function exitOf(child: ChildProcess): Promise<number> {
  const [code] = (await once(child, 'close')) as [number | null];
  return code ?? -1;
}

async function writePattern(path: string, bytes: number): Promise<void> {
  const file = createWriteStream(path);
  for (let offset = 0; offset < bytes; ) {
    const piece = patternAt(offset, bytes - offset);
    offset += piece.length;
    if (!file.write(piece)) await once(file, 'drain');
  }
  file.end();
  await once(file, 'close');
}

function secondsSince(startedMs: number): number {
  return Math.round(performance.now() - startedMs) / 1000;
}
