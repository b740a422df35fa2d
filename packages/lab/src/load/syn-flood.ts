/** A flood of SYNs from distinct addresses, played into the pinned steering program of a running data plane. */
import { setImmediate } from 'node:timers/promises';
import { isIpv4 } from '@restitch/core';
import type { SocketAddress } from '@restitch/core';
import { openPinned, testRun } from '@restitch/sys/internal';
import { buildTcpFrame, tcpFlags } from '@restitch/dataplane/internal';
import { pinnedPath } from '@restitch/dataplane/internal';

/** Runs between two turns of the event loop, about 10 ms. */
const chunkRuns = 4096;
const ethernetBytes = 14;

/** What to play. */
export interface SynFlood {
  readonly pinDirectory: string;
  readonly service: SocketAddress;
  /** Each SYN has an address of its own, counted up. */
  readonly count: number;
}

/** What the program did with them: its return values with their counts (7 redirect, 2 drop, −1 pass). */
export interface SynFloodResult {
  readonly played: number;
  readonly retvals: Readonly<Record<string, number>>;
}

/**
 * Plays the flood by BPF_PROG_TEST_RUN: every SYN goes through parsing, lookups and the half-open table exactly as from
 * a wire, only the frame is not sent. The event loop turns meanwhile. Needs root.
 */
export async function playSynFlood(flood: SynFlood): Promise<SynFloodResult> {
  return play(flood, [tcpFlags.syn], '100.0.0.0');
}

/** The same with the client's ACK behind each SYN: every address becomes an established flow in the table. */
export async function playHandshakes(flood: SynFlood): Promise<SynFloodResult> {
  return play(flood, [tcpFlags.syn, tcpFlags.ack], '101.0.0.0');
}

async function play(flood: SynFlood, flags: readonly number[], firstIpv4: string): Promise<SynFloodResult> {
  const isV4 = isIpv4(flood.service.address);
  const source = { address: isV4 ? firstIpv4 : '2001:db8:f100::', port: 40000 };
  const frames = flags.map((bits) => buildTcpFrame({ source, destination: flood.service, flags: bits }));
  const addressAt = ethernetBytes + (isV4 ? 12 : 20);
  const base = frames[0]?.readUInt32BE(addressAt) ?? 0;
  const program = openPinned(pinnedPath(flood.pinDirectory, 'steer'));
  const retvals: Record<string, number> = {};
  try {
    for (let i = 0; i < flood.count; i++) {
      for (const data of frames) {
        data.writeUInt32BE(base + i, addressAt);
        const { retval } = testRun(program.value, { data });
        retvals[retval] = (retvals[retval] ?? 0) + 1;
      }
      if (i % chunkRuns === chunkRuns - 1) await setImmediate();
    }
  } finally {
    program.close();
  }
  return { played: flood.count, retvals };
}
