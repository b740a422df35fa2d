/**
 * Accepts the messages between hold and switch by hand, at a tenth of their schemas' price: the packets of the flow are held
 * meanwhile. As with images, it only ever says yes to what the schema accepts unchanged (a property test holds it to
 * that); everything else goes to the schema, which also says what is wrong.
 */
import type { OrdinaryCheck } from '../codec/parse-message.js';
import {
  type Fields,
  isEpoch,
  isFields,
  isId,
  isMs,
  isNonNegative,
  isText,
  isU32,
  kindOf,
} from '../codec/plain-checks.js';

const maxDataKeys = 64;

/** Access point → endpoint. */
export const isOrdinaryToEndpoint: OrdinaryCheck = (value) => {
  const t = kindOf(value);
  if (t === 'freeze') {
    return isFields(value, 5) && isMoveRequest(value) && isEpoch(value['epoch']) && isMs(value['budgetMs']);
  }
  if (t === 'activate') return isFields(value, 4) && isMoveRequest(value) && isEpoch(value['epoch']);
  return t === 'release' && isFields(value, 3) && isMoveRequest(value);
};

/** Endpoint → access point. */
export const isOrdinaryFromEndpoint: OrdinaryCheck = (value) => {
  const t = kindOf(value);
  if (t === 'reply') {
    return isFields(value, 4) && isU32(value['re']) && value['ok'] === true && isData(value['data']);
  }
  if (t === 'thawed') return isFields(value, 3) && isId(value['moveId']) && isNonNegative(value['thawUs']);
  return t === 'confirmed' && isFields(value, 3) && isId(value['moveId']) && isU32(value['serverRtos']);
};

function isMoveRequest(value: Fields): boolean {
  return isU32(value['rq']) && isId(value['moveId']);
}

/** What a reply carries: at most 64 values under short names, never looked into here. */
function isData(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    return false;
  const keys = Object.keys(value);
  return keys.length <= maxDataKeys && keys.every((key) => isText(key, 0, 64));
}
