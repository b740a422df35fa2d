/**
 * Accepts an ordinary image by hand, at a tenth of the schema's price; the packets of the flow are held meanwhile.
 *
 * It only ever says yes to what the schema accepts unchanged (a property test holds it to that). Everything else,
 * damaged or merely unusual, goes to the schema, which also says what is wrong.
 */
import { normalizeAddress } from '@restitch/core';
import { isPrintable } from '../codec/fields.js';
import {
  isBoolean,
  isBytes,
  isFields,
  isNatural,
  isNonNegative,
  isText,
  isU32,
} from '../codec/plain-checks.js';

const imageKeys = 16;
const tcpKeys = 20;
const maxOptions = 64;

/** True if the schema of session images would return `value` as it is. */
export function isOrdinaryImage(value: unknown): boolean {
  return (
    isFields(value, imageKeys) &&
    isText(value['sessionId'], 1, 64) &&
    isNatural(value['epoch'], 0xffffff) &&
    isFlow(value['flow']) &&
    isText(value['listener'], 0, 64) &&
    isApp(value['app']) &&
    'state' in value &&
    isBytes(value['unread']) &&
    isBytes(value['unwritten']) &&
    isBoolean(value['endPending']) &&
    isBoolean(value['outputEnded']) &&
    isBoolean(value['inputEnded']) &&
    isNonNegative(value['openedAtMs']) &&
    isNatural(value['moves'], Number.MAX_SAFE_INTEGER) &&
    isNatural(value['bytesRead'], Number.MAX_SAFE_INTEGER) &&
    isNatural(value['bytesWritten'], Number.MAX_SAFE_INTEGER) &&
    isTcp(value['tcp'])
  );
}

/** True for a record of at most 64 signed 32-bit integers. */
export function isSocketOptions(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) {
    return false;
  }
  const values = Object.values(value);
  return values.length <= maxOptions && values.every((v) => typeof v === 'number' && (v | 0) === v);
}

function isTcp(tcp: unknown): boolean {
  return (
    isFields(tcp, tcpKeys) &&
    isTcpState(tcp['state']) &&
    isU32(tcp['rcvNxt']) &&
    isU32(tcp['writeSeq']) &&
    isBytes(tcp['recvQueue']) &&
    isBytes(tcp['sendQueue']) &&
    isU32(tcp['sentBytes']) &&
    isBoolean(tcp['finReceived']) &&
    isBoolean(tcp['finSent']) &&
    isU32(tcp['mssClamp']) &&
    isNatural(tcp['sndWscale'], 14) &&
    isNatural(tcp['rcvWscale'], 14) &&
    isBoolean(tcp['hasWscale']) &&
    isBoolean(tcp['hasSack']) &&
    isBoolean(tcp['hasTimestamps']) &&
    isU32(tcp['timestamp']) &&
    isBytes(tcp['window']) &&
    isSocketOptions(tcp['options']) &&
    isText(tcp['congestion'], 0, 16) &&
    isU32(tcp['keepaliveElapsedMs']) &&
    isU32(tcp['unackedElapsedMs'])
  );
}

/** ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING. */
function isTcpState(value: unknown): boolean {
  return value === 1 || value === 4 || value === 5 || value === 8 || value === 9 || value === 11;
}

function isFlow(flow: unknown): boolean {
  return isFields(flow, 2) && isSocketAddress(flow['client']) && isSocketAddress(flow['vip']);
}

function isSocketAddress(value: unknown): boolean {
  if (!isFields(value, 2) || !isNatural(value['port'], 65_535) || value['port'] === 0) return false;
  const { address } = value;
  if (!isText(address, 2, 45)) return false;
  try {
    return normalizeAddress(address as string) === address;
  } catch {
    return false;
  }
}

function isApp(app: unknown): boolean {
  return isFields(app, 2) && isWords(app['name']) && isWords(app['version']);
}

function isWords(value: unknown): boolean {
  return isText(value, 0, 64) && isPrintable(value as string);
}
