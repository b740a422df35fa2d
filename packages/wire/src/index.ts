/** Public door of @restitch/wire: what whoever talks to a daemon or writes an application names. */
export type {
  AnswerTo,
  DrainAnswer,
  EndpointAnswer,
  EventOf,
  MoveAnswer,
  SessionAnswer,
  SessionTakeOverAnswer,
  StoryAnswer,
  TakeOverAnswer,
} from './admin/lines.js';
export type { AdminCall } from './admin/requests.js';
export type { PlainData } from './codec/plain-codec.js';
