import { describe } from 'vitest';
import { describeMoves } from './move-suite.js';

describe(`on Node ${process.versions.node}`, () => describeMoves({}));
