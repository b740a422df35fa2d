import { describe, expect, it } from 'vitest';
import { openOnnxModel, type OnnxRuntime } from './onnx-model.js';

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
          for (let r = 0; r < rows; r++) {
            for (let k = 0; k < width; k++) out[r * columns + columns - 1] += data[r * width + k]!;
          }
          return { probabilities: { data: out, dims: columns === 1 ? [rows] : [rows, columns] } };
        },
      }),
    },
  };
}

describe('onnx model', () => {
  it('reads the probability of a regressor and of a classifier', async () => {
    for (const columns of [1, 2]) {
      const model = await openOnnxModel('m.onnx', async () => fakeRuntime(columns));
      const scores = await model.score(Float32Array.of(0.25, 0.5, 0.125, 0), 2, 2);
      expect([...scores]).toEqual([0.75, 0.125]);
    }
  });

  it('refuses other shapes, and says when the runtime is missing', async () => {
    const three = await openOnnxModel('m.onnx', async () => fakeRuntime(3));
    await expect(three.score(Float32Array.of(1, 2), 1, 2)).rejects.toMatchObject({ code: 'config_invalid' });
    await expect(openOnnxModel('m.onnx', async () => fakeRuntime(1, ['x', 'y']))).rejects.toMatchObject({
      code: 'config_invalid',
    });
    await expect(openOnnxModel('m.onnx')).rejects.toMatchObject({ code: 'unsupported_host' });
  });
});
