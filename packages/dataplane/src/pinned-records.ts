/** The records of a data plane that another process runs, for looking at them. */
import { openPinned } from '@restitch/sys/internal';
import type { FlowRecord } from './contract.js';
import { pinnedPath } from './pins.js';
import { listRecords } from './records.js';

/** All of them. Throws the system's error where nothing is pinned. */
export function listPinnedRecords(pinDirectory: string): FlowRecord[] {
  const flows = openPinned(pinnedPath(pinDirectory, 'flows'));
  try {
    return listRecords(flows.value);
  } finally {
    flows.close();
  }
}
