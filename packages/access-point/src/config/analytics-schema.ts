/** The block `analytics:` of the daemon's YAML, and what the engine makes of it. */
import { DEFAULT_ENGINE, type SessionClass } from '@restitch/analytics';
import { z } from 'zod';
import type { AnalyticsConfig } from './daemon-config.js';
import { addIssue, amount, count, duration, durationOrZero, labelValue, oneOf, path } from './fields.js';

const { objective, brakes, limits: usual } = DEFAULT_ENGINE;
const labels = z.record(z.string(), labelValue);

const limits = z.strictObject({
  cpu: amount(0.01, 100).default(usual.cpu),
  memory: amount(0.01, 1).optional(),
  io: amount(0.01, 1).optional(),
  app: amount(0.01, 100).default(usual.app),
  rtt: duration.default(usual.rttMs),
  loss: amount(0, 1).default(usual.lossRatio),
});

const budgets = z.strictObject({
  perMinute: count(0, 1_000_000).default(brakes.maxMovesPerMin),
  perPeriod: count(0, 1_000_000).default(objective.maxMoves),
  perSource: count(0, 1_000_000).default(objective.maxMovesPerSource),
  perTarget: count(0, 1_000_000).default(objective.maxMovesPerTarget),
  /** After a move; what a certain event asks for goes before. */
  minimumResidence: durationOrZero.default(objective.minResidenceS * 1000),
  /** Sessions expected to end sooner stay where they are. */
  minimumLife: durationOrZero.default(objective.minLifeS * 1000),
});

const brake = z.strictObject({
  maxRevertRatio: amount(0, 1).default(brakes.maxRevertRatio),
  revertWindow: duration.default(brakes.revertWindowMs),
  minMoves: count(1, 1_000_000).default(brakes.minMoves),
  stale: duration.default(brakes.staleMs),
});

const scores = z.strictObject({
  enter: amount(0, 1).default(objective.enterScore),
  leave: amount(0, 1).default(objective.leaveScore),
  path: amount(0, 1).default(objective.pathEnterScore),
});

const costs = z.strictObject({
  gap: amount(0, 100).default(objective.gapCost),
  perMb: amount(0, 100).default(objective.costPerMb),
  replica: amount(0, 100).default(objective.replicaCost),
  /** What a target next to the client is worth against one far away. */
  near: amount(0, 100).default(objective.nearGain),
  moneyPerMb: amount(0, 1e6).default(objective.moneyPerMb),
});

/** Thresholds of an endpoint or a class of sessions: `leave` stands as far above `enter` as the usual two without it. */
export const ownScores = z
  .strictObject({ enter: amount(0, 1), leave: amount(0, 1).optional() })
  .superRefine((scores, ctx) => {
    if (scores.leave !== undefined && scores.leave < scores.enter)
      ctx.addIssue({
        code: 'custom',
        message: 'is below enter',
        path: ['leave'],
        params: { remedy: 'relief must not end before it begins' },
      });
  });

const sessionClass = z.strictObject({
  listener: labelValue.optional(),
  location: labelValue.optional(),
  scores: ownScores.optional(),
  weight: amount(0, 1000).default(1),
  require: labels.default({}),
  forbid: labels.default({}),
});

/** The block as it is written. */
export const analytics = z.strictObject({
  mode: oneOf('off', 'shadow', 'advise', 'act').default('shadow'),
  period: duration.default(DEFAULT_ENGINE.periodMs),
  rule: oneOf('predictive', 'reactive').default('predictive'),
  reactiveTrigger: amount(0.1, 1).default(1),
  horizons: z
    .array(duration)
    .min(1)
    .max(8)
    .default(DEFAULT_ENGINE.horizonsS.map((s) => s * 1000)),
  limits: limits.prefault({}),
  budgets: budgets.prefault({}),
  brakes: brake.prefault({}),
  scores: scores.prefault({}),
  costs: costs.prefault({}),
  /** By name; without `listener` and `location` the name is that of a listener. The first that fits counts. */
  classes: z.record(z.string(), sessionClass).default({}),
  /** Share of a limit up to which targets are filled, and down to which sources are relieved. */
  fillRatio: amount(0.1, 1).default(objective.fillRatio),
  relieveRatio: amount(0.1, 1).default(objective.relieveRatio),
  /** Over which a newcomer's room grows to its full size. */
  ramp: durationOrZero.default(objective.rampS * 1000),
  domainLabel: labelValue.default(DEFAULT_ENGINE.domainLabel),
  locationLabel: labelValue.default(DEFAULT_ENGINE.locationLabel),
  /** Laboratory only: what the forecast says is turned round. */
  model: oneOf('normal', 'inverted').default('normal'),
  /** An ONNX model of the operator's that scores the overload of a metric. */
  ownModel: z
    .strictObject({ file: path, metric: oneOf('cpu', 'memory', 'io', 'app').default('cpu') })
    .optional(),
  seed: count(0, 0xffffffff).default(DEFAULT_ENGINE.seed),
  store: path.optional(),
  record: path.optional(),
});
type AnalyticsFile = z.output<typeof analytics>;

/** What no field can know alone. */
export function checkAnalytics(
  file: AnalyticsFile,
  isLab: boolean,
  ctx: Parameters<typeof addIssue>[0],
): void {
  const { horizons, period, scores: s } = file;
  horizons.forEach((horizon, i) => {
    const before = horizons[i - 1] ?? 0;
    const place = ['analytics', 'horizons', i];
    if (horizon <= before) addIssue(ctx, 'horizons do not ascend', 'write the shortest first', place);
    else if (horizon < period)
      addIssue(ctx, 'is shorter than analytics.period', 'write a longer time', place);
    else if (horizon / period > 600)
      addIssue(ctx, 'is more than 600 periods ahead', 'write a shorter time, or a longer period', place);
  });
  if (s.leave < s.enter)
    addIssue(ctx, 'is below analytics.scores.enter', 'relief must not end before it begins', [
      'analytics',
      'scores',
      'leave',
    ]);
  const { metric } = file.ownModel ?? { metric: 'cpu' as const };
  if (file.limits[metric] === undefined)
    addIssue(ctx, `nothing can cross a limit: ${metric} has none`, `set analytics.limits.${metric}`, [
      'analytics',
      'ownModel',
      'metric',
    ]);
  if (file.model !== 'normal' && !isLab)
    addIssue(ctx, 'is for a laboratory', 'set lab: true, or leave the key out', ['analytics', 'model']);
}

function toClass({ scores: own, listener, location, ...rest }: z.output<typeof sessionClass>): SessionClass {
  return {
    ...rest,
    ...(listener === undefined ? {} : { listener }),
    ...(location === undefined ? {} : { location }),
    ...(own === undefined ? {} : { enterScore: own.enter }),
    ...(own?.leave === undefined ? {} : { leaveScore: own.leave }),
  };
}

/** The checked block under the names the daemon uses. */
export function toAnalytics(file: AnalyticsFile, stateDirectory: string): AnalyticsConfig {
  const { budgets: b, scores: s, limits: l } = file;
  const horizonsS = file.horizons.map((ms) => ms / 1000);
  return {
    storeDirectory: file.store ?? `${stateDirectory}/analytics`,
    ...(file.record === undefined ? {} : { recordFile: file.record }),
    ...(file.ownModel === undefined ? {} : { ownModelFile: file.ownModel.file }),
    engine: {
      ...DEFAULT_ENGINE,
      mode: file.mode,
      rule: file.rule,
      reactiveTrigger: file.reactiveTrigger,
      periodMs: file.period,
      horizonsS,
      limits: {
        cpu: l.cpu,
        app: l.app,
        rttMs: l.rtt,
        lossRatio: l.loss,
        ...(l.memory === undefined ? {} : { memory: l.memory }),
        ...(l.io === undefined ? {} : { io: l.io }),
      },
      objective: {
        ...objective,
        horizonS: horizonsS.at(-1)!,
        gapCost: file.costs.gap,
        costPerMb: file.costs.perMb,
        replicaCost: file.costs.replica,
        nearGain: file.costs.near,
        moneyPerMb: file.costs.moneyPerMb,
        minResidenceS: b.minimumResidence / 1000,
        minLifeS: b.minimumLife / 1000,
        enterScore: s.enter,
        leaveScore: s.leave,
        pathEnterScore: s.path,
        fillRatio: file.fillRatio,
        relieveRatio: file.relieveRatio,
        rampS: file.ramp / 1000,
        maxMoves: b.perPeriod,
        maxMovesPerSource: b.perSource,
        maxMovesPerTarget: b.perTarget,
      },
      brakes: {
        maxRevertRatio: file.brakes.maxRevertRatio,
        revertWindowMs: file.brakes.revertWindow,
        minMoves: file.brakes.minMoves,
        maxMovesPerMin: b.perMinute,
        staleMs: Math.max(file.brakes.stale, 3 * file.period),
      },
      classes: Object.fromEntries(Object.entries(file.classes).map(([name, c]) => [name, toClass(c)])),
      domainLabel: file.domainLabel,
      locationLabel: file.locationLabel,
      model: file.model,
      ...(file.ownModel === undefined ? {} : { ownModel: file.ownModel.metric }),
      seed: file.seed,
    },
  };
}
