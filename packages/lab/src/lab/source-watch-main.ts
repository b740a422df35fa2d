/** In the client's namespace: notes for each client port whose frames arrive, by the sender's MAC. */
import { createReadWaiter, openPacketTap } from '@restitch/sys';
import { addFrame } from '../load/measure/sources.js';
import type { SourceRun } from '../load/measure/sources.js';
import type { SourceWatchOptions } from './source-watch.js';

const headBytes = 128;
const waitNs = 5_000_000;
const typeIpv6 = 0x86dd;
const protocolTcp = 6;

const options = JSON.parse(process.argv[2] ?? '{}') as SourceWatchOptions;
const tap = openPacketTap(options.interfaceName, options.etherType);
const endpoints = new Map(options.endpoints.map(({ mac, name }) => [mac.replaceAll(':', ''), name]));
const wait = createReadWaiter([tap.fd]);
const memory = Buffer.alloc(headBytes);
const runs = new Map<number, SourceRun[]>();
let dropped = 0;
let isRunning = true;

function note(wireBytes: number): void {
  const endpoint = endpoints.get(memory.toString('hex', 6, 12));
  if (endpoint === undefined) return;
  const isIpv6 = options.etherType === typeIpv6;
  if (memory[isIpv6 ? 20 : 23] !== protocolTcp) return;
  const tcp = 14 + (isIpv6 ? 40 : ((memory[14] ?? 0) & 0x0f) * 4);
  // Only what comes from a VIP's service: endpoints have connections of their own.
  if (!options.ports.includes(memory.readUInt16BE(tcp))) return;
  const port = memory.readUInt16BE(tcp + 2);
  const known = runs.get(port) ?? [];
  addFrame(known, endpoint, wireBytes);
  runs.set(port, known);
}

function look(): void {
  if (!isRunning) return;
  wait(waitNs);
  for (let bytes = tap.read(memory); bytes > 0; bytes = tap.read(memory)) note(bytes);
  dropped += tap.takeDropped();
  setImmediate(look);
}

process.on('message', () => {
  isRunning = false;
  process.send?.({ t: 'runs', runs: [...runs], dropped }, undefined, undefined, () => process.exit(0));
});
process.on('disconnect', () => process.exit(0));
process.send?.({ t: 'ready' });
look();
