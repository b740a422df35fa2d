/** An operator's ONNX model, run by the real runtime, in the engine as the worker has it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_ENGINE, replay } from '@restitch/analytics';
import type { EngineInput, EngineOutput } from '@restitch/analytics';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeLogisticOnnx } from '../testing/write-onnx.js';
import { EngineLoop } from './engine-loop.js';
import { openOnnxModel, type OnnxRuntime } from './onnx-model.js';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-onnx-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const names = ['a', 'b'];
const options = { ...DEFAULT_ENGINE, horizonsS: [5, 10], ownModel: 'cpu' } as const;

function second(t: number): EngineInput[] {
  return [
    ...names.map((endpoint, e): EngineInput => {
      const cpuRatio = e === 0 ? 0.55 + 0.02 * Math.sin(t * 1.3) : 0.2 + 0.02 * Math.sin(t * 1.7);
      return { kind: 'endpoint', atMs: t * 1000 - 500, endpoint, metrics: { cpuRatio, cpuLimitCores: 1 } };
    }),
    { kind: 'tick', atMs: t * 1000 },
  ];
}

interface Status {
  readonly ownModel: { readonly answers: number; readonly failure: string | null };
  readonly metrics: readonly { readonly overload: { readonly model: string } }[];
}

/** Runs seconds, each after the model has answered the one before (or cannot). */
async function play(loop: EngineLoop, heard: EngineOutput[], from: number, to: number): Promise<void> {
  for (let t = from; t <= to; t++) {
    const { ownModel: before } = loop.answer({ q: 'status' }) as Status;
    heard.push(...loop.take(second(t)));
    for (let i = 0; i < 3000; i++) {
      const { ownModel } = loop.answer({ q: 'status' }) as Status;
      if (ownModel.answers > before.answers || ownModel.failure !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

function widthOf(): number {
  const loop = new EngineLoop({ options }, () => undefined);
  loop.take([
    { kind: 'fleet', atMs: 0, endpoints: names.map((name) => ({ name, accepts: true })) },
    ...second(1),
  ]);
  return loop.engine.ownModelRows()!.width;
}

async function risksWith(weight: number, bias: number): Promise<number[]> {
  const file = join(directory, 'model.onnx');
  const weights = [...Array.from({ length: widthOf() - 1 }, () => 0), weight];
  writeFileSync(file, writeLogisticOnnx(weights, bias));
  const heard: EngineOutput[] = [];
  const loop = new EngineLoop({ options, ownModelFile: file }, (o) => void heard.push(...o));
  loop.take([{ kind: 'fleet', atMs: 0, endpoints: names.map((name) => ({ name, accepts: true })) }]);
  await play(loop, heard, 1, 6);
  expect(heard.filter((o) => o.kind === 'event' && o.name === 'own-model-failed')).toEqual([]);
  expect((loop.answer({ q: 'status' }) as Status).metrics[0]!.overload.model).toBe('own');
  return names.map((_, e) => loop.engine.live!.fleet.endpoints.overloadRisk[e]!);
}

describe('an own ONNX model', () => {
  it('is run by the real runtime', async () => {
    const model = await openOnnxModel('m.onnx', writeLogisticOnnx([1, 2], -1));
    const scores = await model.score(Float32Array.of(1, 0, 0, 1, Number.NaN, 0.5), 3, 2);
    expect([...scores].map((p) => Number(p.toFixed(4)))).toEqual([0.5, 0.7311, 0.5]);
    await expect(openOnnxModel('m.onnx', Uint8Array.of(1, 2, 3))).rejects.toMatchObject({
      code: 'config_invalid',
    });
    const wide = await openOnnxModel('m.onnx', writeLogisticOnnx([1, 2, 3], 0));
    await expect(wide.score(new Float32Array(4), 2, 2)).rejects.toThrow();
  }, 30_000);

  it('decides the risk of overload from its first answer on', async () => {
    const sure = await risksWith(0, 6);
    const calm = await risksWith(0, -6);
    for (const e of [0, 1]) expect(sure[e]!).toBeGreaterThan(calm[e]! + 0.3);
    // By the distance to the limit, which is the last number of a row: a is nearer than b.
    const near = await risksWith(-0.05, 1);
    expect(near[0]!).toBeGreaterThan(near[1]!);
  }, 60_000);

  it('is played again exactly from a recording, without the model', async () => {
    const file = join(directory, 'model.onnx');
    writeFileSync(
      file,
      writeLogisticOnnx(
        Array.from({ length: widthOf() }, () => 0.1),
        0.5,
      ),
    );
    const recordFile = join(directory, 'record.jsonl');
    const heard: EngineOutput[] = [];
    const loop = new EngineLoop({ options, ownModelFile: file, recordFile }, (o) => void heard.push(...o));
    heard.push(
      ...loop.take([{ kind: 'fleet', atMs: 0, endpoints: names.map((name) => ({ name, accepts: true })) }]),
    );
    await play(loop, heard, 1, 8);
    loop.close();
    const again: EngineOutput[] = [];
    const { engine } = replay(readFileSync(recordFile, 'utf8').split('\n'), (o) => void again.push(o));
    expect(again).toEqual(heard);
    const risks = (e: typeof engine) => [...e.live!.fleet.endpoints.overloadRisk];
    expect(risks(engine)).toEqual(risks(loop.engine));
    expect(readFileSync(recordFile, 'utf8')).toContain('own-scores');
  }, 60_000);

  it('that cannot be opened or does not fit is told once, and the built-in score goes on', async () => {
    const file = join(directory, 'model.onnx');
    for (const bytes of [Uint8Array.of(1, 2, 3), writeLogisticOnnx([1, 2], 0)]) {
      writeFileSync(file, bytes);
      const heard: EngineOutput[] = [];
      const loop = new EngineLoop({ options, ownModelFile: file }, (o) => void heard.push(...o));
      loop.take([{ kind: 'fleet', atMs: 0, endpoints: names.map((name) => ({ name, accepts: true })) }]);
      await play(loop, heard, 1, 5);
      expect(heard.filter((o) => o.kind === 'event' && o.name === 'own-model-failed')).toHaveLength(1);
      expect(loop.engine.live!.fleet.endpoints.overloadRisk[0]!).toBeGreaterThanOrEqual(0);
    }
  }, 60_000);
});

/** A runtime whose model sums each row; `columns` shapes its output as classifiers do. */
function fakeRuntime(columns: number, inputs = ['x']): OnnxRuntime {
  return {
    Tensor: class {
      constructor(
        readonly type: string,
        readonly data: Float32Array,
        readonly dims: readonly number[],
      ) {}
    },
    InferenceSession: {
      create: async () => ({
        inputNames: inputs,
        outputNames: ['label', 'probabilities'],
        run: async (feeds) => {
          const { data, dims } = feeds['x'] as { data: Float32Array; dims: readonly number[] };
          const [rows, width] = [dims[0]!, dims[1]!];
          const out = new Float32Array(rows * columns);
          for (let r = 0; r < rows; r++)
            for (let k = 0; k < width; k++) out[r * columns + columns - 1]! += data[r * width + k]!;
          return { probabilities: { data: out, dims: columns === 1 ? [rows] : [rows, columns] } };
        },
      }),
    },
  };
}

describe('outputs of an ONNX model', () => {
  const none = new Uint8Array(0);
  it('may be those of a regressor or of a classifier, and nothing else', async () => {
    for (const columns of [1, 2]) {
      const model = await openOnnxModel('m.onnx', none, async () => fakeRuntime(columns));
      const scores = await model.score(Float32Array.of(0.25, 0.5, 0.125, 0), 2, 2);
      expect([...scores]).toEqual([0.75, 0.125]);
    }
    const three = await openOnnxModel('m.onnx', none, async () => fakeRuntime(3));
    await expect(three.score(Float32Array.of(1, 2), 1, 2)).rejects.toMatchObject({ code: 'config_invalid' });
    await expect(openOnnxModel('m.onnx', none, async () => fakeRuntime(1, ['x', 'y']))).rejects.toMatchObject(
      { code: 'config_invalid' },
    );
  });
});
