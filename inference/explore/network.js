"use strict";

/* The third twin: the networks' forward pass in evaluation mode, by plain loops.

An array is {shape, data}: one sample of shape [C, H, W] or [F], data a Float32Array in torch's
order. Sums are taken in double precision and rounded once. A layer is {name, kind, ...options,
weights, layers}, as command.py writes it: kind names a function below, weights has arrays under
torch's names. */

const LAYERS = {
  Conv2d({ weights: { weight, bias }, stride, padding }, x) {
    const { size, windows } = unrolled(x, weight.shape.slice(2), stride, padding);
    return product(weight, bias, windows, [weight.shape[0], ...size]);
  },

  Linear: ({ weights: { weight, bias } }, x) => product(weight, bias, x.data, [weight.shape[0]]),

  MaxPool2d: (layer, x) => pooled(layer, x, -Infinity, Math.max, (value) => value),

  AvgPool2d(layer, x) {
    const count = layer.kernel[0] * layer.kernel[1];
    return pooled(layer, x, 0, (sum, value) => sum + value, (sum) => sum / count);
  },

  BatchNorm2d({ weights: { weight, bias, running_mean, running_var }, eps }, x) {
    const y = array(x.shape);
    const size = x.shape[1] * x.shape[2];
    for (let i = 0; i < x.data.length; i++) {
      const c = Math.floor(i / size);
      const z = (x.data[i] - running_mean.data[c]) / Math.sqrt(running_var.data[c] + eps);
      y.data[i] = weight ? z * weight.data[c] + bias.data[c] : z;
    }
    return y;
  },

  Dropout: ({ factor }, x) => elementwise(x, (value) => value * factor),
  ReLU: (_, x) => elementwise(x, (value) => Math.max(value, 0)),
  SiLU: (_, x) => elementwise(x, (value) => value / (1 + Math.exp(-value))),
  Tanh: (_, x) => elementwise(x, Math.tanh),
  Flatten: (_, x) => ({ shape: [x.data.length], data: x.data }),

  Sequential: ({ layers }, x) => layers.reduce((value, layer) => LAYERS[layer.kind](layer, value), x),

  Residual(layer, x) {
    const y = LAYERS.Sequential(layer, x);
    return { shape: x.shape, data: y.data.map((value, i) => value + x.data[i]) };
  },
};

/** Run a network on its input; return what every layer passes on, in order. */
function forward(network, input) {
  const outputs = [];
  let x = input;
  for (const layer of network.layers) outputs.push((x = LAYERS[layer.kind](layer, x)));
  return outputs;
}

/** Return probabilities for logits. */
function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const total = powers.reduce((sum, power) => sum + power);
  return powers.map((power) => power / total);
}

/** Replace the weights' text, base64 of little-endian float32, by numbers. */
function decode(layers) {
  for (const layer of layers) {
    for (const weight of Object.values(layer.weights)) {
      weight.data = new Float32Array(bytes(weight.data).buffer);
    }
    decode(layer.layers);
  }
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function array(shape) {
  return { shape, data: new Float32Array(shape.reduce((a, b) => a * b)) };
}

function elementwise(x, f) {
  return { shape: x.shape, data: x.data.map((value) => f(value)) };
}

/** Return, for every place of a kernel, the window of the image that it meets: (places, kernel). */
function unrolled({ shape: [channels, height, width], data }, [kh, kw], [sh, sw], [ph, pw]) {
  const size = [places(height + 2 * ph, kh, sh), places(width + 2 * pw, kw, sw)];
  const windows = new Float32Array(size[0] * size[1] * channels * kh * kw);
  let to = 0;
  for (let top = -ph, r = 0; r < size[0]; r++, top += sh) {
    for (let left = -pw, q = 0; q < size[1]; q++, left += sw) {
      for (let c = 0; c < channels; c++) {
        for (let row = top; row < top + kh; row++) {
          for (let column = left; column < left + kw; column++, to++) {
            const inside = row >= 0 && row < height && column >= 0 && column < width;
            windows[to] = inside ? data[(c * height + row) * width + column] : 0;
          }
        }
      }
    }
  }
  return { size, windows };
}

/** Return weight · windowsᵀ + bias in this shape; four kernels at a time, twice as fast as one. */
function product({ shape: [rows, ...inner], data: weight }, bias, windows, shape) {
  const length = inner.reduce((a, b) => a * b);
  const count = windows.length / length;
  const y = array(shape);
  const out = y.data;
  for (let first = 0; first < rows; first += 4) {
    const four = [0, 1, 2, 3].map((i) => Math.min(first + i, rows - 1));
    const [a, b, c, d] = four.map((row) => row * length);
    const [e, f, g, h] = four.map((row) => row * count);
    const [p0, q0, r0, s0] = four.map((row) => (bias ? bias.data[row] : 0));
    for (let place = 0; place < count; place++) {
      const start = place * length;
      let [p, q, r, s] = [p0, q0, r0, s0];
      for (let k = 0; k < length; k++) {
        const value = windows[start + k];
        p += weight[a + k] * value;
        q += weight[b + k] * value;
        r += weight[c + k] * value;
        s += weight[d + k] * value;
      }
      [out[e + place], out[f + place], out[g + place], out[h + place]] = [p, q, r, s];
    }
  }
  return y;
}

function places(length, kernel, stride) {
  return Math.floor((length - kernel) / stride) + 1;
}

function pooled({ kernel: [kh, kw], stride: [sh, sw] }, x, start, join, finish) {
  const [channels, height, width] = x.shape;
  const y = array([channels, places(height, kh, sh), places(width, kw, sw)]);
  let place = 0;
  for (let c = 0; c < channels; c++) {
    for (let top = 0; top <= height - kh; top += sh) {
      for (let left = 0; left <= width - kw; left += sw) {
        let value = start;
        for (let i = 0; i < kh; i++) {
          const row = (c * height + top + i) * width + left;
          for (let j = 0; j < kw; j++) value = join(value, x.data[row + j]);
        }
        y.data[place++] = finish(value);
      }
    }
  }
  return y;
}
