/** Where clients and endpoints are: places of clients as rows, and how near each endpoint is to them. */
import type { EndpointEntry } from './endpoint-book.js';
import type { SessionBook } from './session-book.js';

/** Rows; clients of further places count as of unknown place, so that the table stays small beside the sessions. */
const MAX_PLACES = 256;

/** Row 0 is the unknown place. */
export class Places {
  private readonly rows = new Map<string, number>([['', 0]]);

  constructor(private readonly label: string) {}

  get count(): number {
    return this.rows.size;
  }

  /** Writes each session's row. */
  fill(sessions: SessionBook): void {
    const { region } = sessions.table.columns;
    for (let s = 0; s < sessions.span; s++) region[s] = this.rowOf(sessions.entryOf(s)?.location ?? '');
  }

  /** Rows × endpoints; undefined while no client's place or no endpoint's is known. */
  nearness(endpoints: readonly EndpointEntry[]): Float32Array | undefined {
    const places = endpoints.map(({ fleet }) => fleet.labels?.[this.label] ?? '');
    if (this.rows.size === 1 || places.every((place) => place === '')) return undefined;
    const table = new Float32Array(this.rows.size * endpoints.length);
    for (const [client, row] of this.rows)
      places.forEach((place, e) => (table[row * endpoints.length + e] = nearnessOf(client, place)));
    return table;
  }

  private rowOf(place: string): number {
    const known = this.rows.get(place);
    if (known !== undefined) return known;
    if (this.rows.size >= MAX_PLACES) return 0;
    this.rows.set(place, this.rows.size);
    return this.rows.size - 1;
  }
}

/** Share of the endpoint's place that the client's begins with: `eu/fra` is wholly near for `eu/fra/office`, half for `eu/par`. */
export function nearnessOf(client: string, endpoint: string): number {
  if (client === '' || endpoint === '') return 0;
  const own = endpoint.split('/');
  const other = client.split('/');
  let common = 0;
  while (common < own.length && own[common] === other[common]) common++;
  return common / own.length;
}

/** Whether `place` is `area` or lies in it. */
export function isWithin(place: string, area: string): boolean {
  return place === area || place.startsWith(`${area}/`);
}
