/**
 * Where SYNs went whose handshake is not over. The entry makes a repeated SYN reach the same host, and that is right as
 * long as the host lives; the entries of a dead one are swept out here.
 *
 * In user space, by batches: a check in the program would cost every SYN a lookup for what happens once in weeks.
 */
import { flowKeyBytes } from '@restitch/core';
import { deleteElements, readMap } from '@restitch/sys/internal';
import { halfOpenValueLayout } from './layout.js';

/** Deletes the entries that name an endpoint; returns how many there were. Others are left as they are. */
export function forgetHalfOpenOf(halfOpenFd: number, endpointId: number): number {
  const size = { keyBytes: flowKeyBytes, valueBytes: halfOpenValueLayout.sizeBytes };
  let chosen = Buffer.alloc(0);
  let forgotten = 0;
  readMap(halfOpenFd, size, (keys, values, count) => {
    if (chosen.length < count * flowKeyBytes) chosen = Buffer.alloc(count * flowKeyBytes);
    let n = 0;
    for (let i = 0; i < count; i++) {
      if (
        values.readUInt32LE(i * halfOpenValueLayout.sizeBytes + halfOpenValueLayout.endpoint) !== endpointId
      )
        continue;
      keys.copy(chosen, n++ * flowKeyBytes, i * flowKeyBytes, (i + 1) * flowKeyBytes);
    }
    forgotten += deleteElements(halfOpenFd, chosen, flowKeyBytes, n);
  });
  return forgotten;
}
