/**
 * The life of a connection, as data: who holds what in each phase, what ends the phase, and what happens when a party dies
 * in it. Code, models and tests follow this table; docs/connection-life.md shows it (a test compares both).
 *
 * A connection belongs to restitch from its first SYN until both FINs are acknowledged, the client's by us and committed,
 * or until either side has reset it. Whoever owns a part of it lets go on *that*, on an observation, never on a timer that
 * guesses it.
 */

/** Where a connection is. `tcp` in the table names the states of the server's kernel (include/net/tcp_states.h). */
type ConnectionPhase =
  /** The SYN was steered, the handshake is not over. */
  | 'handshake'
  /** The kernel has it, no application does. */
  | 'accept-queue'
  | 'open'
  /** The client's FIN is in, the application still writes. */
  | 'client-ended'
  /** The application has ended its output and reads on. */
  | 'server-ended'
  /** The application is through; bytes or our FIN are not acknowledged, or the client's FIN has not come. */
  | 'closing'
  /** Both FINs are acknowledged, or one side has reset it. */
  | 'over';

/** Who owns a part of it. */
export type ConnectionParty = 'record' | 'session' | 'descriptor' | 'guard entry' | 'replica' | 'drain';

/** Who can die, and how. */
export type ConnectionDeath = 'process' | 'host' | 'stop' | 'agent' | 'buddy' | 'daemon';

/** One row of the table. */
export interface ConnectionLifeRow {
  readonly phase: ConnectionPhase;
  readonly tcp: readonly string[];
  /** What ends the phase. */
  readonly until: string;
  /** What each party holds; a party that is not named holds nothing. */
  readonly holds: Readonly<Partial<Record<ConnectionParty, string>>>;
  /** What becomes of it at level commit, and below. */
  readonly onDeath: Readonly<
    Partial<Record<ConnectionDeath, { readonly commit: string; readonly below: string }>>
  >;
}

const unaffected = { commit: 'goes on', below: 'goes on' } as const;
const resetByAccessPoint = {
  commit: 'reset by the access point: nothing of it was acknowledged',
  below: 'reset by the access point',
} as const;

/** The whole life. */
export const connectionLife: readonly ConnectionLifeRow[] = [
  {
    phase: 'handshake',
    tcp: ['SYN_RECV'],
    until: 'the client acknowledges, or its SYN is repeated and steered anew',
    holds: { record: 'half-open entry: where the SYN went', 'guard entry': 'what the SYN-ACK said' },
    onDeath: {
      process: {
        commit: 'the half-open entry goes, the repeated SYN gets another endpoint',
        below: 'the same',
      },
      host: { commit: 'the half-open entry goes, the repeated SYN gets another endpoint', below: 'the same' },
      stop: { commit: 'the half-open entry goes, the repeated SYN gets another endpoint', below: 'the same' },
      daemon: unaffected,
    },
  },
  {
    phase: 'accept-queue',
    tcp: ['ESTABLISHED', 'CLOSE_WAIT'],
    until: 'the application accepts it',
    holds: {
      record: 'owner, epoch 0',
      'guard entry': 'epoch 0: nothing is acknowledged at commit, RST passes, a FIN becomes RST',
    },
    onDeath: {
      process: {
        commit: 'its kernel resets it, and the guard lets that pass',
        below: 'its kernel resets it',
      },
      host: resetByAccessPoint,
      stop: resetByAccessPoint,
      daemon: unaffected,
    },
  },
  {
    phase: 'open',
    tcp: ['ESTABLISHED'],
    until: 'either side ends its output',
    holds: {
      record: 'owner and epoch',
      session: 'live',
      descriptor: "Node's",
      'guard entry': 'gate at the committed byte, no FIN, no RST',
      replica: 'state, unread input, unacknowledged output',
      drain: 'moves it',
    },
    onDeath: {
      process: { commit: 'the buddy goes on', below: 'periodic: goes on if the client agrees; else reset' },
      host: { commit: 'the buddy goes on', below: 'periodic: goes on if the client agrees; else reset' },
      stop: { commit: 'the buddy goes on', below: 'periodic: goes on if the client agrees; else reset' },
      agent: unaffected,
      buddy: { commit: 'is replicated anew', below: 'periodic: is replicated anew' },
      daemon: unaffected,
    },
  },
  {
    phase: 'client-ended',
    tcp: ['CLOSE_WAIT'],
    until: 'the application ends its output',
    holds: {
      record: 'owner and epoch',
      session: 'live, its input ended',
      descriptor: "Node's",
      'guard entry': "gate up to the client's FIN once that is committed",
      replica: 'as open, with the FIN',
      drain: 'moves it',
    },
    onDeath: {
      process: { commit: 'the buddy goes on', below: 'periodic: goes on if the client agrees; else reset' },
      host: { commit: 'the buddy goes on', below: 'periodic: goes on if the client agrees; else reset' },
      stop: { commit: 'the buddy goes on', below: 'periodic: goes on if the client agrees; else reset' },
      agent: unaffected,
      buddy: { commit: 'is replicated anew', below: 'periodic: is replicated anew' },
      daemon: unaffected,
    },
  },
  {
    phase: 'server-ended',
    tcp: ['FIN_WAIT1', 'FIN_WAIT2'],
    until: "the client's FIN is read, or the application destroys it",
    holds: {
      record: 'owner and epoch',
      session: 'live, told as closing while bytes or our FIN are unacknowledged',
      descriptor: "Node's",
      'guard entry': 'our FIN may stand at the committed end and nowhere else; the gate stays',
      replica: 'as open, with the end',
      drain: 'moves it',
    },
    onDeath: {
      process: { commit: 'the buddy goes on', below: 'the kernel delivers what it has' },
      host: { commit: 'the buddy goes on', below: 'reset by the access point' },
      stop: { commit: 'the buddy goes on', below: 'the kernel delivers what it has' },
      agent: unaffected,
      buddy: { commit: 'is replicated anew', below: 'no replica is needed' },
      daemon: unaffected,
    },
  },
  {
    phase: 'closing',
    tcp: ['FIN_WAIT1', 'FIN_WAIT2', 'CLOSING', 'LAST_ACK'],
    until: 'both FINs are acknowledged, a reset, or the bound',
    holds: {
      record: 'owner and epoch',
      session: 'closing, with its bytes',
      descriptor: 'a duplicate, kept by the SDK',
      'guard entry': "our FIN at the committed end; the gate until the client's FIN is committed",
      replica: 'output the client has not acknowledged, and that there is no application',
      drain: "moves it, without the target's application",
    },
    onDeath: {
      process: { commit: 'the buddy delivers the rest', below: 'the kernel delivers what it has' },
      host: { commit: 'the buddy delivers the rest', below: 'reset by the access point' },
      stop: { commit: 'the buddy delivers the rest', below: 'the kernel delivers what it has' },
      agent: unaffected,
      buddy: { commit: 'is replicated anew', below: 'no replica is needed' },
      daemon: unaffected,
    },
  },
  {
    phase: 'over',
    tcp: ['TIME_WAIT', 'CLOSE'],
    until: 'a new SYN on the same ports, or a minute',
    holds: {
      record: 'closing: stray packets still go to its last owner',
      'guard entry': 'swallows stray resets',
    },
    onDeath: {},
  },
];
