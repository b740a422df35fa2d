/** Schemas in words, as docs/protocol.md has them: one row a field, shared shapes by their names. */
import type { z } from 'zod';
import {
  appSchema,
  epochSchema,
  flowSchema,
  id,
  ipAddress,
  ms,
  name,
  socketAddressSchema,
  u32,
} from '../codec/fields.js';
import { protocolSchema } from '../codec/version.js';
import { failure } from '../codec/failure.js';

/** Shapes that the page explains once. */
const named = new Map<z.core.$ZodType, string>([
  [u32, 'u32'],
  [epochSchema, 'epoch'],
  [name, 'name'],
  [id, 'id'],
  [ms, 'ms'],
  [ipAddress, 'address'],
  [socketAddressSchema, 'socket address'],
  [flowSchema, 'flow'],
  [appSchema, 'app'],
  [protocolSchema, 'version'],
  [failure, 'failure'],
]);

/** What is read of a schema's definition (zod/v4/core, `$ZodTypeDef` of each kind). */
interface Definition {
  readonly type: string;
  readonly checks?: ReadonlyArray<{ readonly _zod: { readonly def: Readonly<Record<string, unknown>> } }>;
  readonly innerType?: z.core.$ZodType;
  readonly element?: z.core.$ZodType;
  readonly valueType?: z.core.$ZodType;
  readonly in?: z.core.$ZodType;
  readonly out?: z.core.$ZodType;
  readonly values?: readonly unknown[];
  readonly entries?: Readonly<Record<string, string>>;
  readonly options?: readonly z.core.$ZodType[];
  readonly shape?: Readonly<Record<string, z.core.$ZodType>>;
}

/** One field of a message. */
export interface FieldRow {
  readonly field: string;
  readonly type: string;
  readonly isOptional: boolean;
}

/** Fields of an object's schema, without `t`, `rq` and `cmd`, which the page says in its headings. */
export function rowsOf(schema: z.core.$ZodType): FieldRow[] {
  return Object.entries(defOf(schema).shape ?? {})
    .filter(([field]) => !['t', 'rq', 'cmd'].includes(field))
    .map(([field, of]) => ({ field, type: typeOf(of), isOptional: isOptional(of) }));
}

/** A schema in words. */
export function typeOf(schema: z.core.$ZodType): string {
  const known = named.get(schema);
  if (known !== undefined) return known;
  const def = defOf(schema);
  switch (def.type) {
    case 'optional':
    case 'default':
      return typeOf(inner(def));
    case 'nullable':
      return `${typeOf(inner(def))} or null`;
    case 'literal':
      return (def.values ?? []).map((value) => JSON.stringify(value)).join(' or ');
    case 'enum':
      return Object.values(def.entries ?? {})
        .map((value) => `"${value}"`)
        .join(' or ');
    case 'array':
      return `list${atMost(def)} of ${typeOf(def.element as z.core.$ZodType)}`;
    case 'record':
      return `map to ${typeOf(def.valueType as z.core.$ZodType)}`;
    // What is transformed or counted on its way in is what it was before, and a record what comes of counting.
    case 'pipe':
      return typeOf(
        (defOf(def.in as z.core.$ZodType).type === 'custom' ? def.out : def.in) as z.core.$ZodType,
      );
    case 'union':
      return (def.options ?? []).map((option) => typeOf(option)).join(' or ');
    case 'object':
      return `{${rowsOf(schema)
        .map(({ field, type, isOptional: may }) => `${field}${may ? '?' : ''}: ${type}`)
        .join(', ')}}`;
    case 'string':
      return `text${atMost(def)}`;
    case 'number':
      return numberText(def);
    case 'boolean':
      return 'true or false';
    case 'custom':
      return 'see below';
    case 'unknown':
      return 'any value';
    default:
      throw new Error(`a schema of type ${def.type} has no words`);
  }
}

function isOptional(schema: z.core.$ZodType): boolean {
  const { type } = defOf(schema);
  return type === 'optional' || type === 'default';
}

function inner(def: Definition): z.core.$ZodType {
  return def.innerType as z.core.$ZodType;
}

function defOf(schema: z.core.$ZodType): Definition {
  return schema._zod.def as unknown as Definition;
}

function checksOf(def: Definition): ReadonlyArray<Readonly<Record<string, unknown>>> {
  return (def.checks ?? []).map((check) => check._zod.def);
}

function atMost(def: Definition): string {
  const bound = checksOf(def).find(({ check }) => check === 'max_length')?.['maximum'];
  return bound === undefined ? '' : ` (at most ${String(bound)})`;
}

function numberText(def: Definition): string {
  const checks = checksOf(def);
  const of = (check: string): unknown => checks.find((c) => c['check'] === check)?.['value'];
  const what = checks.some(({ check }) => check === 'number_format') ? 'integer' : 'number';
  const [least, most] = [of('greater_than'), of('less_than')];
  return `${what}${least === undefined ? '' : ` from ${String(least)}`}${most === undefined ? '' : ` to ${String(most)}`}`;
}
