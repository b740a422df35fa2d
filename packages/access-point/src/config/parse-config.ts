/** YAML text to a checked configuration, or the list of everything that is wrong with it, each with its place. */
import { RestitchError } from '@restitch/core';
import { type Document, LineCounter, type Node, isMap, isNode, isPair, parseDocument } from 'yaml';
import type { z } from 'zod';
import type { DaemonConfig } from './daemon-config.js';
import { knownKeys, nearest } from './known-keys.js';
import { daemonFileSchema, toDaemonConfig } from './schema.js';

/** One thing that is wrong. Lines and columns count from 1. */
export interface ConfigIssue {
  readonly line: number;
  readonly column: number;
  /** As in `listeners[0].vip`; '' for the whole file. */
  readonly path: string;
  readonly problem: string;
  readonly remedy: string;
}

/** A configuration, or why there is none. */
export type ConfigResult =
  | { readonly ok: true; readonly config: DaemonConfig }
  | { readonly ok: false; readonly issues: readonly ConfigIssue[] };

/** A configuration file is pages, not megabytes; more is a mistake or an attack. */
const maxConfigBytes = 4 * 1024 * 1024;

/** Reads and checks; never throws for what stands in the text. */
export function checkConfig(text: string): ConfigResult {
  if (text.length > maxConfigBytes) {
    const problem = `the file has more than ${maxConfigBytes} characters`;
    return {
      ok: false,
      issues: [{ line: 1, column: 1, path: '', problem, remedy: 'give a configuration file' }],
    };
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: 'silent' });
  if (document.errors.length > 0)
    return { ok: false, issues: document.errors.map((e) => syntaxIssue(e, lines)) };
  const plain = toPlain(document);
  if ('issue' in plain) return { ok: false, issues: [plain.issue] };
  const parsed = daemonFileSchema.safeParse(plain.value);
  if (parsed.success) return { ok: true, config: toDaemonConfig(parsed.data) };
  const issues = parsed.error.issues.flatMap((issue) => toIssues(issue, document, lines));
  return { ok: false, issues: issues.sort((a, b) => a.line - b.line || a.column - b.column) };
}

/** Reads and checks. Throws `config_invalid` whose message lists every issue as `file:line:column: …`. */
export function parseConfig(text: string, file = 'configuration'): DaemonConfig {
  const result = checkConfig(text);
  if (result.ok) return result.config;
  const listed = result.issues.map((issue) => formatIssue(issue, file));
  throw new RestitchError('config_invalid', listed.join('\n'), { details: { issues: listed } });
}

/** `file:line:column: path problem; remedy`. */
export function formatIssue(issue: ConfigIssue, file: string): string {
  const what = issue.path === '' ? issue.problem : `${issue.path}: ${issue.problem}`;
  return `${file}:${issue.line}:${issue.column}: ${what}; ${issue.remedy}`;
}

function syntaxIssue(error: Document['errors'][number], lines: LineCounter): ConfigIssue {
  const { line, col } = lines.linePos(error.pos[0]);
  const at = { line: Math.max(line, 1), column: Math.max(col, 1), path: '' };
  if (error.code === 'DUPLICATE_KEY') {
    return { ...at, problem: 'this key stands here twice', remedy: 'keep one of the two' };
  }
  return {
    ...at,
    problem: `not YAML: ${error.message}`,
    remedy: 'check indentation and quotes on this line',
  };
}

/** Aliases are bounded by the yaml package; past its bound it throws, and that is an issue like any other. */
function toPlain(document: Document): { value: unknown } | { issue: ConfigIssue } {
  try {
    return { value: document.toJS({ maxAliasCount: 100 }) as unknown };
  } catch (error) {
    const problem = `not usable: ${error instanceof Error ? error.message : String(error)}`;
    return {
      issue: { line: 1, column: 1, path: '', problem, remedy: 'write values out instead of aliases' },
    };
  }
}

function toIssues(issue: z.core.$ZodIssue, document: Document, lines: LineCounter): ConfigIssue[] {
  const place = (path: PropertyKey[], atKey = false) => ({
    ...locate(document, lines, path, atKey),
    path: formatPath(path),
  });
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(daemonFileSchema, issue.path);
    return issue.keys.map((key) => {
      const guess = nearest(key, known);
      const remedy = guess === undefined ? `keys here are ${known.join(', ')}` : `did you mean ${guess}?`;
      return { ...place([...issue.path, key], true), problem: 'no such key', remedy };
    });
  }
  const base = place(issue.path, false);
  if (issue.code === 'custom') {
    const remedy: unknown = issue.params?.['remedy'];
    return [{ ...base, problem: issue.message, remedy: typeof remedy === 'string' ? remedy : '' }];
  }
  return [{ ...base, ...describeType(issue) }];
}

function describeType(issue: z.core.$ZodIssue): { problem: string; remedy: string } {
  if (issue.code !== 'invalid_type') return { problem: issue.message, remedy: 'see docs/operations.md' };
  const isMissing = issue.message.endsWith('received undefined');
  const wanted =
    issue.expected === 'array' ? 'a list (lines that begin with "- ")' : 'a block of keys and values';
  return {
    problem: isMissing ? 'is missing' : 'is of the wrong kind',
    remedy: isMissing ? `write ${wanted}` : `write ${wanted}, or leave the key out`,
  };
}

/** Where the value of a path stands; of what is missing, where the map stands that lacks it. */
function locate(
  document: Document,
  lines: LineCounter,
  path: readonly PropertyKey[],
  atKey: boolean,
): { line: number; column: number } {
  for (let length = path.length; length >= 0; length--) {
    const offset = offsetOf(document, path.slice(0, length), atKey && length === path.length);
    if (offset === undefined) continue;
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  }
  return { line: 1, column: 1 };
}

function offsetOf(document: Document, path: readonly PropertyKey[], atKey: boolean): number | undefined {
  const keys = path.map((part) => (typeof part === 'symbol' ? String(part) : part));
  const parent: unknown = keys.length === 0 ? undefined : document.getIn(keys.slice(0, -1), true);
  if (isMap(parent)) {
    const pair = parent.items.find((item) => isPair(item) && String(item.key) === String(keys.at(-1)));
    if (pair === undefined) return undefined;
    const value = pair.value as Node | null;
    const node = atKey || !value?.range || isMap(value) ? pair.key : value;
    return isNode(node) ? node.range?.[0] : undefined;
  }
  const node: unknown = keys.length === 0 ? document.contents : document.getIn(keys, true);
  return isNode(node) ? node.range?.[0] : undefined;
}

function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === 'number' ? `${text}[${part}]` : text === '' ? String(part) : `${text}.${String(part)}`,
    '',
  );
}
