/**
 * Accepts the messages between hold and switch by hand, at a tenth of their schemas' price: the packets of the flow are held
 * meanwhile. As with images, it only ever says yes to what the schema accepts unchanged (a property test holds it to
 * that); everything else goes to the schema, which also says what is wrong.
 */
import { type Fields, isBytes, isFields, isNatural, isNonNegative, isText, isU32 } from './plain-checks.js';

/** True if the schema of that direction would return `value` as it is. */
export type OrdinaryCheck = (value: unknown) => boolean;

const maxMs = 86_400_000;
const maxEpoch = 0xffffff;
const maxDataKeys = 64;
const idPattern = /^[!-~]{1,64}$/;

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

/** Source → target. */
export const isOrdinaryToTarget: OrdinaryCheck = (value) =>
  kindOf(value) === 'image' &&
  isFields(value, 4) &&
  isId(value['moveId']) &&
  isEpoch(value['epoch']) &&
  isBytes(value['image']);

function kindOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null ? (value as Fields)['t'] : undefined;
}

function isMoveRequest(value: Fields): boolean {
  return isU32(value['rq']) && isId(value['moveId']);
}

function isId(value: unknown): boolean {
  return typeof value === 'string' && idPattern.test(value);
}

function isEpoch(value: unknown): boolean {
  return isNatural(value, maxEpoch);
}

function isMs(value: unknown): boolean {
  return isNonNegative(value) && (value as number) <= maxMs;
}

/** What a reply carries: at most 64 values under short names, never looked into here. */
function isData(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    return false;
  const keys = Object.keys(value);
  return keys.length <= maxDataKeys && keys.every((key) => isText(key, 0, 64));
}
