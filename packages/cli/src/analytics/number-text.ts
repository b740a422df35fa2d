/** Numbers as people and their tools write them: percent signs, separators of thousands, decimal commas. */
import type { Separator } from './read-csv.js';

/** What stands for "no value". */
const missing = /^(|-|–|null|nil|none|n\/?a|nan|undefined|missing)$/i;
/** Between groups of digits; the comma and the point, which may also be decimal, are told apart below. */
const groupMark = /(?<=\d)[ '’_\u00a0\u202f](?=\d{3}(?!\d))/g;
const plain = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/**
 * The number of a field: NaN where there is none, `undefined` where it is no number. `45 %` is 45. Of a comma and a point in one number
 * the last is decimal. A comma alone is decimal in files whose fields are separated by something else, unless it stands more
 * than once; in files with commas it separates thousands, and must do so properly. A point that stands more than once separates
 * thousands.
 */
export function parseNumber(text: string, separator: Separator): number | undefined {
  const trimmed = text.trim();
  if (plain.test(trimmed)) return finite(trimmed);
  if (missing.test(trimmed)) return Number.NaN;
  const bare = trimmed.replace(/\s*%$/, '').replace(groupMark, '');
  const marks = bare.replaceAll(/[^.,]/g, '');
  if (marks === '' || marks === '.') return finite(bare);
  const decimal = decimalOf(marks, separator);
  const [whole = '', ...rest] = decimal === '' ? [bare] : bare.split(decimal);
  const group = decimal === ',' ? '.' : ',';
  const grouped = decimal === '' ? marks[0]! : group;
  if (rest.length > 1 || rest.join('').includes(group) || !isGrouped(whole, grouped)) return undefined;
  return finite([whole.replaceAll(grouped, ''), ...rest].join('.'));
}

/** Which of the marks of a number is decimal; '' if all separate thousands. */
function decimalOf(marks: string, separator: Separator): '.' | ',' | '' {
  const last = marks.at(-1) as '.' | ',';
  const isMixed = new Set(marks).size > 1;
  if (isMixed) return last;
  if (marks.length > 1) return '';
  return separator === ',' ? '' : ',';
}

function isGrouped(whole: string, mark: string): boolean {
  const [first = '', ...groups] = whole.split(mark);
  return (
    groups.length === 0 || (/^[+-]?\d{1,3}$/.test(first) && groups.every((group) => /^\d{3}$/.test(group)))
  );
}

function finite(text: string): number | undefined {
  if (!plain.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}
