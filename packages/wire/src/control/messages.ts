/**
 * What endpoint and access point say on the control connection, which the endpoint dials, one per process. What does not
 * fit is refused at the border; nothing behind it checks again.
 *
 * `rq` numbers a request, `re` answers it; a message without either is an event.
 */
import { z } from 'zod';
import { failure } from '../codec/failure.js';
import {
  appSchema,
  epochSchema,
  flowSchema,
  id,
  ipAddress,
  ms,
  name,
  recordOf,
  socketAddressSchema,
  u32,
  words,
} from '../codec/fields.js';
import { withOrdinaryCheck } from '../codec/parse-message.js';
import { protocolSchema } from '../codec/version.js';
import { isOrdinaryFromEndpoint, isOrdinaryToEndpoint } from './ordinary-message.js';
import type { Reply } from './replies.js';
import { telemetryOrderSchema, telemetrySchema, verdictsSchema } from './telemetry.js';

/** How a session stands whose application has ended it. */
const closingSchema = z.object({
  /** The client has not acknowledged so many bytes, our FIN counted. */
  tailBytes: u32,
  /** Who delivers them if the process dies: its host's kernel (levels none and periodic), or whoever has the replica. */
  finisher: z.enum(['kernel', 'successor']),
  /** Its application has ended its output only and reads on: it is still asked at a move, and still load. */
  hasApplication: z.boolean().optional(),
});
/** How a session stands whose application has ended it. */
export type Closing = z.infer<typeof closingSchema>;

/** What an endpoint says of one of its sessions. */
const sessionReportSchema = z.object({
  id,
  flow: flowSchema,
  epoch: epochSchema,
  /**
   * live: serves it. frozen: keeps it for a revert. pending: has reconstituted it, waits for the switch. closing: its
   * application has ended it, and the client does not have everything yet.
   */
  phase: z.enum(['live', 'frozen', 'pending', 'closing']),
  /** Of one that is closing. */
  closing: closingSchema.optional(),
  moveId: id.optional(),
  pinned: words(200).optional(),
  openedAtMs: z.number().nonnegative(),
});
/** What an endpoint says of one of its sessions. */
export type SessionReport = z.infer<typeof sessionReportSchema>;

/** An endpoint that can keep replicas. */
const peerSchema = z.object({
  name,
  instance: id,
  stateAddress: socketAddressSchema,
  labels: recordOf(words(64), 64),
  /** It is being drained: it keeps what it has, and is chosen only where there is nobody else. */
  isLeaving: z.boolean().optional(),
});
/** An endpoint that can keep replicas. */
export type Peer = z.infer<typeof peerSchema>;

/** Which kind it is depends on the request: `parseReply` looks into it. */
const replyData = recordOf(z.unknown(), 64) as unknown as z.ZodType<Reply>;
const request = { rq: u32 };

/** Endpoint → access point. */
export const fromEndpointSchema = withOrdinaryCheck(
  z.discriminatedUnion('t', [
    z.object({
      t: z.literal('hello'),
      protocol: protocolSchema,
      name,
      /** Random per process: a restarted endpoint is another instance. */
      instance: id,
      app: appSchema,
      /** Where this endpoint takes images. */
      stateAddress: socketAddressSchema,
      /** Its address on the network of the VIP: the data plane learns the MAC from it. */
      dataAddress: ipAddress,
      listeners: z.array(z.object({ name, vip: socketAddressSchema })).max(256),
      /** What it can do with images; see transfer/features.ts. */
      features: z.array(words(40)).max(64),
      capacitySessions: u32.optional(),
      /** It takes part in surviving crashes: keeps replicas for others and sends only under a lease. */
      protection: z.object({ labels: recordOf(words(64), 64) }).optional(),
    }),
    /** First word of a host agent, which speaks with its endpoint's certificate. */
    z.object({
      t: z.literal('agent-hello'),
      protocol: protocolSchema,
      name,
    }),
    /** Agent: that process has ended; `isFenced`: and its host sends nothing for its flows any more. */
    z.object({
      t: z.literal('process-ended'),
      instance: id,
      isFenced: z.boolean(),
      /** It had said that it would leave: no crash. */
      isLeaving: z.boolean().optional(),
      /** No other process of this endpoint is guarded there. */
      isLast: z.boolean().optional(),
      /**
       * What the kernel finishes alone. Only the guard knows: what an endpoint said of its ends may have been said before the
       * end was promised to it, or not yet.
       */
      finishing: z
        .array(z.object({ flow: flowSchema, epoch: epochSchema }))
        .max(4096)
        .optional(),
    }),
    /** Agent: the kernel has finished these connections of processes that ended (delivered or given up: they are gone). */
    z.object({
      t: z.literal('finished'),
      flows: z.array(z.object({ flow: flowSchema, epoch: epochSchema })).max(4096),
    }),
    /** Agent: still here. */
    z.object({ t: z.literal('agent-heartbeat') }),
    /** All sessions after hello, in chunks; `last` ends the list. */
    z.object({
      t: z.literal('announce'),
      sessions: z.array(sessionReportSchema).max(4096),
      last: z.boolean(),
    }),
    z.object({ t: z.literal('opened'), sessions: z.array(sessionReportSchema).max(4096) }),
    z.object({
      t: z.literal('ended'),
      sessions: z.array(z.object({ id, flow: flowSchema, epoch: epochSchema, reason: words(64) })).max(4096),
    }),
    /** Their applications have ended them, and their clients lack something yet; told again as that changes. */
    z.object({
      t: z.literal('closing'),
      sessions: z
        .array(z.object({ id, flow: flowSchema, epoch: epochSchema, closing: closingSchema }))
        .max(4096),
    }),
    /** The process is about to leave (`endpoint.drain()`, SIGTERM): move everything away, send nothing new. */
    z.object({ t: z.literal('leaving'), on: z.boolean(), deadlineMs: ms }),
    z.object({ t: z.literal('pinned'), id, reason: words(200).nullable() }),
    /** A session asks for its move at its safe point; `byVerdict`: because it was told it had better. */
    z.object({
      t: z.literal('wants-move'),
      n: u32,
      id,
      target: name.optional(),
      byVerdict: z.boolean(),
    }),
    /** Whose replicas are where; `isReady`: the newest commits are there, and nowhere else. */
    z.object({
      t: z.literal('buddies'),
      sessions: z.array(z.object({ id, buddy: name.nullable(), isReady: z.boolean() })).max(4096),
    }),
    z.object({
      t: z.literal('heartbeat'),
      n: u32,
      sessions: u32,
      eventLoopDelayMs: z.number().nonnegative(),
      counters: recordOf(z.number(), 1024).optional(),
    }),
    /** What it measured of itself and its sessions; see telemetry.ts. */
    telemetrySchema,
    /** Target: the socket stands, in repair; or could not be made. */
    z.object({ t: z.literal('thawed'), moveId: id, thawUs: z.number().nonnegative() }),
    z.object({ t: z.literal('thaw-failed'), moveId: id, failure }),
    /** Target: the client's own acknowledgement was seen. */
    z.object({ t: z.literal('confirmed'), moveId: id, serverRtos: u32 }),
    z.object({ t: z.literal('reply'), re: u32, ok: z.literal(true), data: replyData }),
    z.object({ t: z.literal('refusal'), re: u32, failure }),
  ]),
  isOrdinaryFromEndpoint,
);
/** Endpoint → access point. */
export type FromEndpoint = z.infer<typeof fromEndpointSchema>;

/** Access point → endpoint. */
export const toEndpointSchema = withOrdinaryCheck(
  z.discriminatedUnion('t', [
    z.object({
      t: z.literal('welcome'),
      protocol: protocolSchema,
      heartbeatMs: ms,
      accessPoint: name,
      telemetry: telemetryOrderSchema.optional(),
    }),
    /** Target: keep a place, say whether the app fits. */
    z.object({
      t: z.literal('reserve'),
      ...request,
      moveId: id,
      sessionId: id,
      flow: flowSchema,
      epoch: epochSchema,
      source: name,
      app: appSchema,
      listener: name,
      expiresMs: ms,
      /** Its application has ended it: the target's is not asked and not called. */
      isClosing: z.boolean().optional(),
    }),
    /** Source: check the socket, reach a safe point, open the state connection. Nothing is frozen yet. */
    z.object({
      t: z.literal('prepare'),
      ...request,
      moveId: id,
      sessionId: id,
      target: z.object({
        name,
        address: socketAddressSchema,
        /** As it said when the place was reserved; the source compares them with what its image needs. */
        features: z.array(words(40)).max(64).optional(),
      }),
      budgetMs: ms,
      /** The operator said force: pins and busy tokens do not hinder this move. */
      force: z.boolean().optional(),
    }),
    /** Source: freeze and send the image under `epoch` to the prepared target. */
    z.object({ t: z.literal('freeze'), ...request, moveId: id, epoch: epochSchema, budgetMs: ms }),
    /** Target: the record names you; leave repair and serve. */
    z.object({ t: z.literal('activate'), ...request, moveId: id, epoch: epochSchema }),
    /** Target: drop the reconstituted socket without a packet. */
    z.object({ t: z.literal('abort'), ...request, moveId: id }),
    /** Source: serve again in place. */
    z.object({ t: z.literal('revert'), ...request, moveId: id }),
    /** Source: the move is committed, drop the frozen socket without a packet. */
    z.object({ t: z.literal('release'), ...request, moveId: id }),
    /** Idle sweep: which of these flows do you still have? */
    z.object({ t: z.literal('query'), ...request, flows: z.array(flowSchema).max(4096) }),
    /**
     * What sockets of the VIP on this host still owe their clients, whoever made them. Answer {sockets, bytes}: those with
     * bytes or a FIN that is not acknowledged, in the endpoint's network namespace.
     */
    z.object({ t: z.literal('residue'), ...request }),
    /** End sessions with RST (drain deadline passed and the operator said reset). */
    z.object({ t: z.literal('reset'), ...request, sessionIds: z.array(id).max(4096) }),
    /** Sockets' own retransmission timeouts and queue figures. */
    z.object({ t: z.literal('stats'), ...request, sessionIds: z.array(id).max(4096) }),
    z.object({ t: z.literal('draining'), on: z.boolean() }),
    /** Which sessions had better leave; see telemetry.ts. */
    verdictsSchema,
    /** What came of `wants-move` `n`. A committed move was told to the session itself. */
    z.object({
      t: z.literal('move-answer'),
      n: u32,
      outcome: z.enum(['committed', 'refused', 'reverted', 'failed']),
      reason: words(1000),
    }),
    /** Guarded flows may leave until `leaseMs` after heartbeat `n` was sent. */
    z.object({ t: z.literal('lease'), n: u32, leaseMs: ms }),
    /** Who can keep replicas now. */
    z.object({ t: z.literal('peers'), peers: z.array(peerSchema).max(4096) }),
    /** This instance was declared dead and its sessions are others' now: let go of them without a packet. */
    z.object({ t: z.literal('fenced'), reason: words(64) }),
    /**
     * Buddy: which sessions of that dead endpoint can you go on with? Without owner, of
     * all: a page from `offset` on, the last one is not full (`replicasPerPage`).
     */
    z.object({ t: z.literal('replicas'), ...request, owner: name.optional(), offset: u32.optional() }),
    /** Buddy: the record names you; go on with it under `epoch`. */
    z.object({
      t: z.literal('take-over'),
      ...request,
      moveId: id,
      owner: name,
      sessionId: id,
      epoch: epochSchema,
      /** Its client, or somebody in its name, has sent a reset that nobody answered for. */
      isClientInDoubt: z.boolean().optional(),
    }),
  ]),
  isOrdinaryToEndpoint,
);
/** Access point → endpoint. */
export type ToEndpoint = z.infer<typeof toEndpointSchema>;
/** Access point → endpoint, those that are answered. */
export type EndpointRequest = Extract<ToEndpoint, { rq: number }>;
