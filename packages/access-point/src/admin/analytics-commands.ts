/** What the `analytics.…` commands of the admin socket do. */
import { RestitchError, toRestitchError } from '@restitch/core';
import type { AnswerTo } from '@restitch/wire';
import type { AdminRequest } from '@restitch/wire/internal';
import type { AnalyticsHost } from '../analytics/analytics-host.js';

type AnalyticsCommand = Extract<AdminRequest['cmd'], `analytics.${string}`>;
type AnalyticsCommands = {
  readonly [C in AnalyticsCommand]: (
    args: Extract<AdminRequest, { cmd: C }>,
  ) => AnswerTo<C> | Promise<AnswerTo<C>>;
};

/**
 * Commands; what must work while the engine does not (status, mode) does. What an engine says comes from another thread, as
 * plain data; the command line's test reads a real engine's words by the schemas.
 */
export function createAnalyticsCommands(given: AnalyticsHost | undefined): AnalyticsCommands {
  const need = (): AnalyticsHost => {
    if (given === undefined) throw new RestitchError('usage', 'this daemon runs without analytics');
    return given;
  };
  return {
    'analytics.status': async () => {
      const host = need();
      const engine = (await orReason(host.query({ q: 'status' }))) as AnswerTo<'analytics.status'>['engine'];
      return { host: host.view, engine };
    },
    'analytics.plan': async () => {
      const host = need();
      return {
        mode: host.mode,
        plan: (await host.query({ q: 'plan' })) as AnswerTo<'analytics.plan'>['plan'],
      };
    },
    'analytics.explain': async ({ name }) => (await explain(need(), name)) as AnswerTo<'analytics.explain'>,
    'analytics.mode': ({ mode }) => need().setMode(mode),
    'analytics.accept': ({ planId }) => {
      need().accept(planId);
      return { accepted: planId };
    },
    'analytics.record': async ({ file }) => {
      const recording = await need().query({ q: 'record', file });
      return { recording: recording as AnswerTo<'analytics.record'>['recording'] };
    },
    'analytics.train': () => {
      need().train();
      return { training: true };
    },
    'analytics.rollback': () => {
      need().rollback();
      return { rollingBack: true };
    },
  };
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
