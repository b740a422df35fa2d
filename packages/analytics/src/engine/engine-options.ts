/** How an engine is set up, as plain data: it stands in the first line of a recording. */
import { type BrakeLimits, DEFAULT_BRAKES } from '../control/brakes.js';
import type { AnalyticsMode } from '../control/mode-governor.js';
import { DEFAULT_OBJECTIVE, type Objective } from '../plan/objective.js';
import type { StoredHistory } from '../risk/client-history.js';

/** Levels above which sessions are disturbed; a metric without a limit is forecast, but nothing moves because of it. */
interface EngineLimits {
  /** Share of the CPU quota. */
  readonly cpu: number;
  readonly memory?: number;
  readonly io?: number;
  /** Share of the capacity the application reports. */
  readonly app: number;
  /** Of the path from the access point to the endpoint. */
  readonly rttMs: number;
  readonly lossRatio: number;
}

/** Which sessions a class has, what they are worth, when they leave, and where they may be. */
export interface SessionClass {
  /** Its listener; the class' name where neither this nor `location` is given. */
  readonly listener?: string;
  /** Of clients in this location or below it: `eu` also means `eu/fra`. */
  readonly location?: string;
  /** Scores of an endpoint at which sessions of the class leave it, and stay again; the endpoint's own without them. */
  readonly enterScore?: number;
  readonly leaveScore?: number;
  readonly weight?: number;
  /** Labels their endpoint must have, and must not have. */
  readonly require?: Readonly<Record<string, string>>;
  readonly forbid?: Readonly<Record<string, string>>;
}

/** See the head of the file. */
export interface EngineOptions {
  readonly mode: AnalyticsMode;
  /** `reactive` never uses a forecast. */
  readonly rule: 'predictive' | 'reactive';
  /** Share of the limit at which the reactive rule acts. */
  readonly reactiveTrigger: number;
  readonly periodMs: number;
  /** Forecast horizons, ascending; the longest is the one plans are made for. */
  readonly horizonsS: readonly number[];
  readonly limits: EngineLimits;
  readonly objective: Objective;
  readonly brakes: BrakeLimits;
  /** By name; a session is of the first one that fits. */
  readonly classes: Readonly<Record<string, SessionClass>>;
  /** Label of the endpoints that names their failure domain. */
  readonly domainLabel: string;
  /** Label of the endpoints that names their location, parts from the widest on: `eu/fra`. */
  readonly locationLabel: string;
  /** Periods after which verdicts at the endpoints expire. */
  readonly verdictPeriods: number;
  /** Factor by which an endpoint's report may differ from what the access point's own counts let expect. */
  readonly believeFactor: number;
  /** Matured cases of the overload forecast in memory. */
  readonly skillMemory: number;
  /** Rows the trees learn from at most; 0 turns trees off. */
  readonly trainingRows: number;
  /** For trials: probabilities are turned round, so that the fall-back can be watched. */
  readonly model: 'normal' | 'inverted';
  readonly seed: number;
  /** Metric whose overload risk an operator's own model scores; its answers come as inputs. */
  readonly ownModel?: 'cpu' | 'memory' | 'io' | 'app';
  readonly history?: StoredHistory;
  /** A stored model, as `AnalyticsEngine.exportModel` gave it. */
  readonly storedModel?: string;
}

/** 30 s are long enough to move some thousand sessions and short enough to forecast from a minute's past. */
export const DEFAULT_ENGINE: EngineOptions = {
  mode: 'shadow',
  rule: 'predictive',
  reactiveTrigger: 1,
  periodMs: 1000,
  horizonsS: [5, 15, 30],
  limits: { cpu: 0.9, app: 1, rttMs: 200, lossRatio: 0.05 },
  objective: { ...DEFAULT_OBJECTIVE, horizonS: 30 },
  brakes: DEFAULT_BRAKES,
  classes: {},
  domainLabel: 'zone',
  locationLabel: 'location',
  verdictPeriods: 3,
  believeFactor: 5,
  skillMemory: 1000,
  trainingRows: 3000,
  model: 'normal',
  seed: 1,
};
