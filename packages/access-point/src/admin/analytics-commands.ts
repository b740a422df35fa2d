/** What the `analytics.…` commands of the admin socket do. */
import { RestitchError, toRestitchError } from '@restitch/core';
import type { AdminRequest } from '@restitch/wire/internal';
import type { AnalyticsHost } from '../analytics/analytics-host.js';

/** Requests about the analytics. */
export type AnalyticsRequest = Extract<AdminRequest, { cmd: `analytics.${string}` }>;

/** Answers; what must work while the engine does not (status, mode) does. */
export async function answerAnalytics(
  host: AnalyticsHost | undefined,
  request: AnalyticsRequest,
): Promise<unknown> {
  if (host === undefined) throw new RestitchError('usage', 'this daemon runs without analytics');
  switch (request.cmd) {
    case 'analytics.status':
      return { host: host.view, engine: await orReason(host.query({ q: 'status' })) };
    case 'analytics.plan':
      return { mode: host.mode, plan: await host.query({ q: 'plan' }) };
    case 'analytics.explain':
      return explain(host, request.name);
    case 'analytics.mode':
      return host.setMode(request.mode);
    case 'analytics.accept':
      host.accept(request.planId);
      return { accepted: request.planId };
    case 'analytics.record':
      return { recording: await host.query({ q: 'record', file: request.file }) };
    case 'analytics.train':
      host.train();
      return { training: true };
    case 'analytics.rollback':
      host.rollback();
      return { rollingBack: true };
  }
}

async function explain(host: AnalyticsHost, name: string): Promise<unknown> {
  const story = await host.query({ q: 'explain', name });
  if (story === null)
    throw new RestitchError(
      'unknown_session',
      `the analytics know neither a session nor an endpoint ${name}`,
    );
  return story;
}

/** The engine's answer, or in its place why there is none. */
async function orReason(answer: Promise<unknown>): Promise<unknown> {
  try {
    return await answer;
  } catch (error) {
    return { unavailable: toRestitchError(error).message };
  }
}
