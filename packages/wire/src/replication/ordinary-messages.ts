/**
 * Accepts commits and their acknowledgements by hand, at a tenth of their schemas' price: each round trip of a protected
 * session waits for both. It only ever says yes to what the schema accepts unchanged (a property test holds it to that);
 * everything else goes to the schema, which also says what is wrong.
 */
import {
  type Fields,
  isBoolean,
  isBytes,
  isEpoch,
  isFields,
  isId,
  isNatural,
  isU32,
  kindOf,
} from '../codec/plain-checks.js';

/** Most bytes one message carries of each kind; larger ones are split by the owner into several commits. */
export const maxPartBytes = 16 * 1024 * 1024;

const maxSessions = 65_536;
/** Fields of a commit that are always there. */
const commitFields = 11;

/** True if the schema would return this commit as it is. */
export function isOrdinaryCommit(value: unknown): value is Fields {
  if (kindOf(value) !== 'commit') return false;
  const fields = value as Fields;
  const hasOpening = 'opening' in fields;
  const hasState = 'state' in fields;
  const hasSkipped = 'skipped' in fields;
  const optional = Number(hasOpening) + Number(hasState) + Number(hasSkipped);
  if (!isFields(value, commitFields + optional)) return false;
  return (
    isId(value['id']) &&
    isEpoch(value['epoch']) &&
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
  if (kindOf(value) !== 'committed' || !isFields(value, 2)) return false;
  const sessions: unknown = value['sessions'];
  return Array.isArray(sessions) && sessions.length <= maxSessions && sessions.every(isPosition);
}

function isPosition(value: unknown): boolean {
  return isFields(value, 3) && isId(value['id']) && isEpoch(value['epoch']) && isU32(value['n']);
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

function isOffset(value: unknown): boolean {
  return isNatural(value, Number.MAX_SAFE_INTEGER);
}

function isPart(value: unknown): boolean {
  return isBytes(value) && (value as Uint8Array).length <= maxPartBytes;
}
