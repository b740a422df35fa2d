/**
 * Which endpoint keeps a session's replica: rendezvous hashing (Thaler, Ravishankar 1998) over the other endpoints.
 *
 * Not a ring and not "my neighbour": when an endpoint dies its sessions should land on all the others, and when one
 * leaves or joins only its own share should be replicated anew.
 */

/** An endpoint as a possible buddy. */
export interface BuddyCandidate {
  readonly name: string;
  /** Share relative to others; 0 takes no replicas. */
  readonly weight?: number;
  /** Failure domains by label, e.g. {zone: 'z1', rack: 'r7'}. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** What is protected and whom it stands with. */
export interface BuddyQuery {
  readonly sessionId: string;
  readonly owner: BuddyCandidate;
  /** Labels from the widest domain to the narrowest: sharing a zone is worse than sharing a rack. */
  readonly domains?: readonly string[];
}

/** All candidates but the owner, best first: fewest shared domains, then highest score. */
export function rankBuddies(query: BuddyQuery, candidates: readonly BuddyCandidate[]): string[] {
  const others = candidates.filter((c) => c.name !== query.owner.name && (c.weight ?? 1) > 0);
  const ranked = others.map((c) => ({
    name: c.name,
    shared: sharedDomains(query.owner, c, query.domains ?? []),
    score: scoreOf(query.sessionId, c),
  }));
  ranked.sort((a, b) => a.shared - b.shared || b.score - a.score || (a.name < b.name ? -1 : 1));
  return ranked.map((r) => r.name);
}

/** The buddy of a session; undefined if there is none. */
export function chooseBuddy(query: BuddyQuery, candidates: readonly BuddyCandidate[]): string | undefined {
  return rankBuddies(query, candidates)[0];
}

/** Bit i from the narrow end is set if the domain is shared, so that a wider one outweighs all narrower ones. */
function sharedDomains(owner: BuddyCandidate, other: BuddyCandidate, domains: readonly string[]): number {
  return domains.reduce((sum, label) => {
    const mine = owner.labels?.[label];
    return sum * 2 + (mine !== undefined && mine === other.labels?.[label] ? 1 : 0);
  }, 0);
}

/** Weighted rendezvous: −w / ln(u) with u uniform in (0, 1) (Schindelhauer, Schomaker 2005). */
function scoreOf(sessionId: string, candidate: BuddyCandidate): number {
  const u = (hash32(`${sessionId}\u0000${candidate.name}`) + 0.5) / 0x1_0000_0000;
  return -(candidate.weight ?? 1) / Math.log(u);
}

/** FNV-1a with murmur3's finaliser: FNV alone leaves names that differ in the last letter in order. */
function hash32(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
