/**
 * Accepts commits and their acknowledgements by hand, at a tenth of their schemas' price: each round trip of a protected
 * session waits for both. It only ever says yes to what the schema accepts unchanged (a property test holds it to that);
 * everything else goes to the schema, which also says what is wrong.
 */
import {
  type Fields,
  isBoolean,
  isBytes,
  isFields,
  isNatural,
  isU32,
  parseMessage,
} from '@restitch/core/internal';
import { maxPartBytes, type ToBuddy, toBuddySchema, type ToOwner, toOwnerSchema } from './messages.js';

const maxEpoch = 0xffffff;
const maxSessions = 65_536;
const idPattern = /^[!-~]{1,64}$/;
/** Fields of a commit that are always there. */
const commitFields = 11;

/** A message of an owner. Throws `message_invalid` with paths only. */
export function parseToBuddy(raw: unknown, from: string): ToBuddy {
  return isOrdinaryCommit(raw) ? (raw as unknown as ToBuddy) : parseMessage(toBuddySchema, raw, from);
}

/** A message of a buddy. Throws `message_invalid` with paths only. */
export function parseToOwner(raw: unknown, from: string): ToOwner {
  return isOrdinaryCommitted(raw) ? (raw as unknown as ToOwner) : parseMessage(toOwnerSchema, raw, from);
}

/** True if the schema would return this commit as it is. */
export function isOrdinaryCommit(value: unknown): value is Fields {
  if (typeof value !== 'object' || value === null || (value as Fields)['t'] !== 'commit') return false;
  const hasOpening = 'opening' in value;
  const hasState = 'state' in value;
  const hasSkipped = 'skipped' in value;
  const optional = Number(hasOpening) + Number(hasState) + Number(hasSkipped);
  if (!isFields(value, commitFields + optional)) return false;
  return (
    isId(value['id']) &&
    isNatural(value['epoch'], maxEpoch) &&
    isU32(value['n']) &&
    value['n'] !== 0 &&
    isOffset(value['inputStart']) &&
    isPart(value['input']) &&
    isBoolean(value['fin']) &&
    isOffset(value['outputStart']) &&
    isPart(value['output']) &&
    isOffset(value['acked']) &&
    isU32(value['chain']) &&
    (!hasOpening || isPart(value['opening'])) &&
    (!hasState || isState(value['state'])) &&
    (!hasSkipped || isU32(value['skipped']))
  );
}

/** True if the schema would return these acknowledgements as they are. */
export function isOrdinaryCommitted(value: unknown): value is Fields {
  if (typeof value !== 'object' || value === null || (value as Fields)['t'] !== 'committed') return false;
  if (!isFields(value, 2)) return false;
  const sessions: unknown = value['sessions'];
  return Array.isArray(sessions) && sessions.length <= maxSessions && sessions.every(isPosition);
}

function isPosition(value: unknown): boolean {
  return isFields(value, 3) && isId(value['id']) && isNatural(value['epoch'], maxEpoch) && isU32(value['n']);
}

function isState(value: unknown): boolean {
  return (
    isFields(value, 4) &&
    (value['as'] === 'patch' || value['as'] === 'snapshot') &&
    isPart(value['bytes']) &&
    isOffset(value['consumed']) &&
    isOffset(value['outputAt'])
  );
}

function isId(value: unknown): boolean {
  return typeof value === 'string' && idPattern.test(value);
}

function isOffset(value: unknown): boolean {
  return isNatural(value, Number.MAX_SAFE_INTEGER);
}

function isPart(value: unknown): boolean {
  return isBytes(value) && (value as Uint8Array).length <= maxPartBytes;
}
