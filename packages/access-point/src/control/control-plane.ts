/**
 * What endpoints say, and what follows: who is there, which sessions live where, and after every reconnection one owner
 * for each session.
 */
import { RestitchError, normalizeAddress } from '@restitch/core';
import type { Clock, Counters, Flow, Logger } from '@restitch/core';
import { formatVersion, protocolVersion } from '@restitch/wire/internal';
import type { Closing, SessionReport, TelemetryOrder } from '@restitch/wire/internal';
import type { Channel } from '@restitch/channel';
import type { Dataplane } from '@restitch/dataplane';
import type { Coordinator } from '../moves/coordinator.js';
import type { Drains } from '../moves/drains.js';
import { EndpointLink } from '../model/endpoint-link.js';
import type { EndpointEvent } from '../model/endpoint-link.js';
import type { Endpoint, EndpointRegistry, Hello, Liveness } from '../model/endpoint-registry.js';
import type { EventFeed } from '../model/event-feed.js';
import type { FlowBatch } from '../model/flow-batch.js';
import { renewRecord } from '../ownership/reconciler.js';
import type { SelfMoveHandler } from '../analytics/self-move-handler.js';
import type { TelemetryIntake } from '../analytics/telemetry-intake.js';
import type { Protection } from '../failover/protection.js';
import type { Reconciler } from '../ownership/reconciler.js';
import { makeSession } from '../model/session-registry.js';
import type { Session, SessionRegistry } from '../model/session-registry.js';

/** What an endpoint says of a session whose client sent RST; its application's own resets have another word. */
const clientReset = 'ECONNRESET';

/** What the control plane works with. */
export interface ControlPlaneDeps {
  readonly accessPointName: string;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly dataplane: Dataplane;
  readonly batch: FlowBatch;
  readonly endpoints: EndpointRegistry;
  readonly sessions: SessionRegistry;
  readonly coordinator: Coordinator;
  readonly reconciler: Reconciler;
  readonly protection: Protection;
  readonly telemetry: TelemetryIntake;
  readonly selfMoves: SelfMoveHandler;
  readonly drains: Drains;
  readonly feed: EventFeed;
  readonly heartbeatMs: () => number;
  readonly lingerMs: () => number;
  /** What endpoints are asked to tell of themselves; undefined: nothing. */
  readonly telemetryOrder: () => TelemetryOrder | undefined;
  /** False where only listed endpoints may join and this is none. */
  readonly mayJoin: (name: string) => boolean;
  /** An endpoint's liveness changed: new flows may have to go elsewhere. */
  readonly onLiveness: (endpoint: Endpoint) => void;
  /** The agent of that endpoint's host says that its last process has ended, fenced. */
  readonly onProcessEnded: (name: string) => void;
}

/** Serves the control connections of all endpoints. */
export class ControlPlane {
  readonly #deps: ControlPlaneDeps;

  constructor(deps: ControlPlaneDeps) {
    this.#deps = deps;
  }

  /** Takes a connection whose peer is an authenticated endpoint. */
  accept(channel: Channel): void {
    let endpoint: Endpoint | undefined;
    let isAgent = false;
    const link: EndpointLink = new EndpointLink(channel, this.#deps.clock, {
      onEvent: (event) => {
        if (isAgent || event.t === 'agent-hello') {
          isAgent = true;
          this.#hearAgent(link, event);
        } else if (event.t === 'hello') endpoint = this.#greet(link, endpoint, event);
        else if (endpoint === undefined) {
          throw new RestitchError('message_invalid', `${channel.peer.name} sent ${event.t} before hello`);
        } else this.#hear(endpoint, event);
      },
      onClose: (reason) => {
        if (endpoint !== undefined) this.#lose(endpoint, link, reason);
      },
    });
  }

  #greet(link: EndpointLink, known: Endpoint | undefined, hello: Hello): Endpoint {
    const deps = this.#deps;
    if (known !== undefined) throw new RestitchError('message_invalid', `${hello.name} said hello twice`);
    if (hello.name !== link.peerName) {
      deps.counters.add('control_wrong_name_total');
      throw new RestitchError('forbidden', `${link.peerName} tried to speak as ${hello.name}`);
    }
    if (!deps.mayJoin(hello.name)) {
      deps.counters.add('control_not_listed_total');
      throw new RestitchError('forbidden', `${hello.name} is not among the listed endpoints`);
    }
    const endpoint = deps.endpoints.ensure(hello.name);
    endpoint.link?.close(new RestitchError('closed', `${hello.name} connected again`));
    const isOtherProcess = endpoint.hello !== undefined && endpoint.hello.instance !== hello.instance;
    if (isOtherProcess && !deps.protection.replaced(endpoint)) deps.reconciler.processGone(endpoint);
    endpoint.hasLeft = false;
    endpoint.link = link;
    endpoint.hello = withNormalAddresses(hello);
    deps.reconciler.beginAnnounce(endpoint);
    deps.dataplane.setTarget({ endpointId: endpoint.id, dataAddress: hello.dataAddress });
    this.setLiveness(endpoint, 'joining');
    const order = deps.telemetryOrder();
    link.tell({
      t: 'welcome',
      protocol: protocolVersion,
      heartbeatMs: deps.heartbeatMs(),
      accessPoint: deps.accessPointName,
      ...(order === undefined ? {} : { telemetry: order }),
    });
    deps.telemetry.greeted(endpoint);
    deps.protection.greeted(endpoint);
    if (endpoint.drain !== 'none') link.tell({ t: 'draining', on: true });
    const protocol = formatVersion(hello.protocol);
    deps.logger.info(
      { endpoint: endpoint.name, id: endpoint.id, protocol, isOtherProcess },
      'endpoint connected',
    );
    return endpoint;
  }

  /** Writes an endpoint's liveness and tells those who must know. */
  setLiveness(endpoint: Endpoint, liveness: Liveness): void {
    if (endpoint.liveness === liveness) return;
    const { clock, logger, onLiveness, feed } = this.#deps;
    const before = endpoint.state;
    logger.info({ endpoint: endpoint.name, from: endpoint.liveness, to: liveness }, 'endpoint liveness');
    endpoint.liveness = liveness;
    endpoint.livenessSinceMs = clock.monotonicMs();
    if (feed.isWatched) {
      feed.emit({
        t: 'endpoint',
        atMs: clock.wallMs(),
        endpoint: endpoint.name,
        state: endpoint.state,
        before,
      });
    }
    onLiveness(endpoint);
  }

  #hear(endpoint: Endpoint, event: Exclude<EndpointEvent, { t: 'hello' }>): void {
    switch (event.t) {
      case 'announce':
        this.#announce(endpoint, event.sessions, event.last);
        return;
      case 'opened':
        for (const report of event.sessions) this.#open(endpoint, report);
        return;
      case 'ended':
        for (const ended of event.sessions) this.#end(endpoint, ended);
        return;
      case 'closing':
        for (const told of event.sessions) this.#close(endpoint, told);
        return;
      case 'leaving':
        // Of a process that was declared dead it is no news.
        if (!this.#deps.protection.isDead(endpoint))
          this.#deps.drains.leaving(endpoint, event.on, event.deadlineMs);
        return;
      case 'pinned':
        this.#pin(endpoint, event.id, event.reason);
        return;
      case 'buddies':
        for (const { id, buddy, isReady } of event.sessions) {
          const session = this.#deps.sessions.byId(id);
          if (session?.owner !== endpoint) continue;
          this.#deps.sessions.setBuddy(session, buddy === null ? undefined : { name: buddy, isReady });
        }
        return;
      case 'heartbeat':
        this.#deps.protection.heartbeat(endpoint, event.n);
        endpoint.eventLoopDelayMs = event.eventLoopDelayMs;
        if (event.counters !== undefined) endpoint.counters = event.counters;
        if (endpoint.liveness === 'suspect' && !endpoint.isProbeFailing)
          this.setLiveness(endpoint, 'healthy');
        return;
      case 'wants-move':
        this.#deps.selfMoves.take(endpoint, event);
        return;
      case 'telemetry':
        this.#deps.telemetry.take(endpoint, event);
        return;
      case 'thawed':
      case 'thaw-failed':
      case 'confirmed':
        this.#hearOfMove(endpoint, event);
        return;
      default:
        throw new RestitchError('message_invalid', `${endpoint.name} is no agent and sent ${event.t}`);
    }
  }

  /** An agent has its endpoint's certificate and speaks of its own host only. */
  #hearAgent(link: EndpointLink, event: EndpointEvent): void {
    const name = link.peerName;
    if (event.t === 'agent-hello') {
      if (event.name !== name)
        throw new RestitchError('forbidden', `${name} tried to speak as ${event.name}`);
      this.#deps.protection.agentJoined(name, link);
    } else if (event.t === 'process-ended') {
      this.#deps.protection.processEnded(name, event);
      if (event.isFenced && event.isLast === true) this.#deps.onProcessEnded(name);
    } else if (event.t === 'finished') this.#deps.protection.finished(name, event.flows);
    else if (event.t !== 'agent-heartbeat') {
      throw new RestitchError('message_invalid', `the agent of ${name} sent ${event.t}`);
    }
  }

  #hearOfMove(
    endpoint: Endpoint,
    event: Extract<EndpointEvent, { t: 'thawed' | 'thaw-failed' | 'confirmed' }>,
  ): void {
    const move = this.#deps.coordinator.byId(event.moveId);
    if (move === undefined || move.target !== endpoint) {
      this.#deps.counters.add('control_late_move_events_total');
      if (event.t === 'thawed') this.#refuseThawed(endpoint, event.moveId);
      return;
    }
    if (event.t === 'thawed') {
      move.figures['thawUs'] = event.thawUs;
      if (!move.post('thawed')) this.#refuseThawed(endpoint, event.moveId);
    } else if (event.t === 'confirmed') {
      move.figures['serverRtos'] = event.serverRtos;
      move.post('confirmed');
    } else {
      move.post(
        'thaw-failed',
        new RestitchError('thaw_failed', `${event.failure.code}: ${event.failure.message}`),
      );
    }
  }

  /**
   * The target has a copy nobody waits for any more: its abort went down with an older connection, or the daemon that
   * began the move is dead. In the second case only the record can tell; a new announcement brings both together.
   */
  #refuseThawed(endpoint: Endpoint, moveId: string): void {
    const { coordinator, counters } = this.#deps;
    if (coordinator.isOwnMove(moveId)) endpoint.link?.request({ t: 'abort', moveId }, () => undefined);
    else {
      counters.add('control_foreign_thaws_total');
      endpoint.link?.close(
        new RestitchError('message_invalid', `move ${moveId} is not of this daemon; announce again`),
      );
    }
  }

  #announce(endpoint: Endpoint, reports: readonly SessionReport[], isLast: boolean): void {
    // Declared dead and told so: it is about to come back as another process, its sessions are others'.
    if (this.#deps.protection.isDead(endpoint)) return;
    for (const report of reports) {
      this.#deps.reconciler.report(endpoint, normalReport(report));
      if (this.#deps.protection.isDead(endpoint)) return;
    }
    if (!isLast) return;
    this.#deps.reconciler.endAnnounce(endpoint);
    this.setLiveness(endpoint, 'healthy');
    this.#deps.protection.announced(endpoint);
  }

  /** A new session at its first owner: the record is claimed, so that it says what the endpoint says. */
  #open(endpoint: Endpoint, raw: SessionReport): void {
    const report = normalReport(raw);
    const { sessions, clock, counters, feed, coordinator } = this.#deps;
    const known = sessions.byId(report.id);
    this.#assertOwnFlow(endpoint, report, known);
    if (known !== undefined && known.epoch >= report.epoch) return;
    if (feed.isWatched) {
      const { id: sessionId, flow } = report;
      feed.emit({ t: 'opened', atMs: clock.wallMs(), sessionId, endpoint: endpoint.name, flow });
    }
    const before = sessions.add(makeSession(endpoint, report, clock.monotonicMs()));
    if (before !== undefined) {
      counters.add('sessions_replaced_total');
      coordinator.sessionEnded(before);
    }
    counters.add('sessions_opened_total');
    this.#claim(endpoint, report);
  }

  #claim(endpoint: Endpoint, report: SessionReport): void {
    const { batch, counters, dataplane } = this.#deps;
    const { flow, epoch } = report;
    batch.push({ op: 'claim', flow, endpointId: endpoint.id, epoch }, (result) => {
      if (result === 'ok') return;
      // The client used its port again before the end of the session before was told.
      const isOwnOld = result === 'stale' && dataplane.lookup(flow)?.endpointId === endpoint.id;
      if (isOwnOld) renewRecord(this.#deps, endpoint.id, report);
      else counters.add(`flow_claim_${result}_total`);
    });
  }

  /** New sessions come to the endpoint the record names, or to one no record contradicts: nobody opens another's. */
  #assertOwnFlow(endpoint: Endpoint, report: SessionReport, known: Session | undefined): void {
    const record = this.#deps.dataplane.lookup(report.flow);
    const isOthersFlow =
      record !== undefined && record.endpointId !== endpoint.id && record.phase !== 'closing';
    const isOthersSession = known !== undefined && known.owner !== endpoint;
    if (!isOthersFlow && !isOthersSession) return;
    this.#deps.counters.add('control_foreign_sessions_total');
    throw new RestitchError(
      'forbidden',
      `${endpoint.name} says it opened ${report.id}, which is another endpoint's`,
    );
  }

  #end(endpoint: Endpoint, ended: { id: string; flow: Flow; epoch: number; reason: string }): void {
    const { sessions, coordinator, batch, counters, feed, clock, drains } = this.#deps;
    const session = sessions.byId(ended.id);
    counters.add('sessions_ended_total');
    if (session === undefined || session.owner !== endpoint) return;
    coordinator.sessionEnded(session);
    session.end = ended.reason === clientReset ? 'reset' : 'closed';
    sessions.remove(session);
    drains.sessionEnded(endpoint);
    if (feed.isWatched) {
      const { id: sessionId, reason } = ended;
      feed.emit({ t: 'ended', atMs: clock.wallMs(), sessionId, endpoint: endpoint.name, reason });
    }
    const { flow, epoch } = session;
    batch.push({ op: 'close', flow, epoch, lingerMs: this.#deps.lingerMs() });
  }

  /** Its application has ended it, and its client lacks something yet: it goes on being a session until `ended`. */
  #close(endpoint: Endpoint, told: { id: string; epoch: number; closing: Closing }): void {
    const session = this.#deps.sessions.byId(told.id);
    if (session?.owner !== endpoint || session.epoch !== told.epoch) return;
    this.#deps.sessions.setClosing(session, told.closing);
  }

  #pin(endpoint: Endpoint, sessionId: string, reason: string | null): void {
    const session = this.#deps.sessions.byId(sessionId);
    if (session?.owner === endpoint) this.#deps.sessions.setPinned(session, reason ?? undefined);
  }

  /** The connection is gone; the endpoint may well go on serving. Only new flows and moves are affected. */
  #lose(endpoint: Endpoint, link: EndpointLink, reason: Error | undefined): void {
    if (endpoint.link !== link) return;
    endpoint.link = undefined;
    const { logger, coordinator } = this.#deps;
    logger.warn({ endpoint: endpoint.name, reason: reason?.message }, 'control connection lost');
    this.setLiveness(endpoint, 'suspect');
    this.#deps.protection.linkLost(endpoint);
    coordinator.endpointLost(endpoint);
  }
}

function normalFlow(flow: Flow): Flow {
  const { client, vip } = flow;
  const clientAddress = normalizeAddress(client.address);
  const vipAddress = normalizeAddress(vip.address);
  if (clientAddress === client.address && vipAddress === vip.address) return flow;
  return {
    client: { address: clientAddress, port: client.port },
    vip: { address: vipAddress, port: vip.port },
  };
}

function normalReport(report: SessionReport): SessionReport {
  const flow = normalFlow(report.flow);
  return flow === report.flow ? report : { ...report, flow };
}

function withNormalAddresses(hello: Hello): Hello {
  const listeners = hello.listeners.map((l) => ({
    name: l.name,
    vip: { address: normalizeAddress(l.vip.address), port: l.vip.port },
  }));
  return { ...hello, listeners };
}
