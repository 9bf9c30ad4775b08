// Trained models as lists of plain layers: encode, decode, decode at any points. No part of it touches the page.
"use strict";

// Weights are floats of 24 bits (16 of significand), three bytes each, in one block of base64.
function readFloats(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const words = new Uint32Array(bytes.length / 3);
  for (let i = 0; i < words.length; i++)
    words[i] = (bytes[3 * i] << 8) | (bytes[3 * i + 1] << 16) | (bytes[3 * i + 2] << 24);
  return new Float32Array(words.buffer);
}

const FUNCTIONS = {
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  relu: (x) => Math.max(x, 0),
  leaky_relu: (x) => (x > 0 ? x : 0.01 * x),
  gelu: (x) => 0.5 * x * (1 + Math.tanh(0.7978845608 * (x + 0.044715 * x * x * x))),
  silu: (x) => x / (1 + Math.exp(-x)),
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  tanh: Math.tanh,
  sin: Math.sin,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
};

// x of rows [n, in] by a kernel [in, out] and a bias [out].
function dense(x, { kernel, bias }) {
  const outputs = bias.length, inputs = kernel.length / outputs, n = x.length / inputs;
  const y = new Float64Array(n * outputs);
  for (let row = 0; row < n; row++) {
    const start = row * outputs;
    for (let o = 0; o < outputs; o++) y[start + o] = bias[o];
    for (let i = 0; i < inputs; i++) {
      const value = x[row * inputs + i];
      for (let o = 0, k = i * outputs; o < outputs; o++, k++) y[start + o] += value * kernel[k];
    }
  }
  return y;
}

// Kernel [in, 4, 4, out], stride 2, padding 1: pixel (i, j) of a square image adds to (2i - 1 + a, 2j - 1 + b).
function transposedConv(x, { kernel, bias }) {
  const outputs = bias.length, inputs = kernel.length / (16 * outputs);
  const size = Math.round(Math.sqrt(x.length / inputs)), width = 2 * size;
  const y = new Float64Array(width * width * outputs);
  for (let p = 0; p < y.length; p += outputs) for (let o = 0; o < outputs; o++) y[p + o] = bias[o];
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++)
      for (let c = 0; c < inputs; c++) {
        const value = x[(i * size + j) * inputs + c];
        for (let a = 0; a < 4; a++) {
          const row = 2 * i - 1 + a;
          if (row < 0 || row >= width) continue;
          for (let b = 0; b < 4; b++) {
            const column = 2 * j - 1 + b;
            if (column < 0 || column >= width) continue;
            const to = (row * width + column) * outputs, from = ((c * 4 + a) * 4 + b) * outputs;
            for (let o = 0; o < outputs; o++) y[to + o] += value * kernel[from + o];
          }
        }
      }
  return y;
}

function groupNorm(x, { scale, bias, num_groups, epsilon }) {
  const channels = scale.length, size = channels / num_groups, y = new Float64Array(x.length);
  for (let g = 0; g < num_groups; g++) {
    const members = [];
    for (let p = 0; p < x.length; p += channels) for (let c = 0; c < size; c++) members.push(p + g * size + c);
    const mean = members.reduce((sum, m) => sum + x[m], 0) / members.length;
    const variance = members.reduce((sum, m) => sum + (x[m] - mean) ** 2, 0) / members.length;
    for (const m of members)
      y[m] = ((x[m] - mean) / Math.sqrt(variance + epsilon)) * scale[m % channels] + bias[m % channels];
  }
  return y;
}

function sinCos(x, features) {
  const y = new Float64Array(2 * x.length);
  for (let i = 0; i < x.length; i++) {
    const row = Math.floor(i / features), at = 2 * row * features + (i % features);
    y[at] = Math.sin(x[i]);
    y[at + features] = Math.cos(x[i]);
  }
  return y;
}

// What the layers make of one example: at `points` [N, 2], of an implicit model; otherwise they are not used.
function applyLayers(layers, x, points) {
  let y = Float64Array.from(x), z = y, width = 0; // the last axis, once a dense layer has set it
  for (const [kind, values] of layers) {
    if (kind === "dense") { y = dense(y, values); width = values.bias.length; }
    else if (kind === "transposed_conv") y = transposedConv(y, values);
    else if (kind === "group_norm") y = groupNorm(y, values);
    else if (kind === "points") { z = y; y = points; }
    else if (kind === "add_latent") {
      const shift = dense(z, { kernel: values.kernel, bias: new Float64Array(width) });
      for (let i = 0; i < y.length; i++) y[i] += shift[i % width];
    } else if (kind === "sin_cos") { y = sinCos(y, width); width *= 2; }
    else if (kind !== "reshape") {
      const f = FUNCTIONS[kind];
      for (let i = 0; i < y.length; i++) y[i] = f(y[i]);
    }
  }
  return y;
}

// The points of a grid on [-1, 1]^2 with corners, or of any window: rows first.
function gridPoints(rows, columns, top = -1, left = -1, bottom = 1, right = 1) {
  const points = new Float64Array(2 * rows * columns);
  for (let i = 0, p = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      points[p++] = rows === 1 ? top : top + ((bottom - top) * i) / (rows - 1);
      points[p++] = columns === 1 ? left : left + ((right - left) * j) / (columns - 1);
    }
  return points;
}

class Model {
  constructor(data, floats) {
    Object.assign(this, data);
    const read = (values) => Object.fromEntries(Object.entries(values).map(([name, value]) => [name,
      Array.isArray(value) ? Float64Array.from(floats.subarray(value[0], value[0] + value[1])) : value])); // one type: fast
    const layersOf = (layers) => layers.map(([kind, values]) => [kind, read(values)]);
    this.encoder = data.encoder && layersOf(data.encoder);
    this.decoder = layersOf(data.decoder);
    const [rows, columns] = this.data_shape;
    this.points = this.implicit ? gridPoints(rows, columns) : null;
  }
  encode(x) { return applyLayers(this.encoder, x); }
  decode(z) { return applyLayers(this.decoder, z, this.points); }
  at(z, points) { return applyLayers(this.decoder, z, points); }
  // Decode a draw of the prior N(0, I), which enters behind the mean of q(t given z).
  decodeDraw(t) { return applyLayers(this.decoder.slice(this.draw_enters), t, this.points); }
}

// Direction on the great circle, norm linear in t; the straight line where the ends fix no circle.
function slerp(a, b, t) {
  const norm = (z) => Math.hypot(...z), na = norm(a), nb = norm(b);
  let wa = 1 - t, wb = t;
  if (na > 0 && nb > 0) {
    const cosine = a.reduce((sum, value, i) => sum + (value / na) * (b[i] / nb), 0);
    if (Math.abs(cosine) < 1 - 1e-6) {
      const theta = Math.acos(cosine);
      wa = (Math.sin((1 - t) * theta) / Math.sin(theta)) * (1 - t + (t * nb) / na);
      wb = (Math.sin(t * theta) / Math.sin(theta)) * (t + ((1 - t) * na) / nb);
    }
  }
  return Float64Array.from(a, (value, i) => wa * value + wb * b[i]);
}

// Pillow's bilinear filter to a larger size, of bytes: rounded after each of its two passes.
function enlarge(bytes, size, larger) {
  const weights = Array.from({ length: larger }, (_, i) => {
    const center = ((i + 0.5) * size) / larger;
    const row = Array.from({ length: size }, (_, j) => Math.max(0, 1 - Math.abs(j + 0.5 - center)));
    const sum = row.reduce((a, b) => a + b);
    return row.map((w) => w / sum);
  });
  const rows = new Float64Array(size * larger), result = new Float64Array(larger * larger);
  for (let i = 0; i < size; i++)
    for (let j = 0; j < larger; j++)
      rows[i * larger + j] = Math.round(weights[j].reduce((sum, w, k) => sum + w * bytes[i * size + k], 0));
  for (let i = 0; i < larger; i++)
    for (let j = 0; j < larger; j++)
      result[i * larger + j] = Math.round(weights[i].reduce((sum, w, k) => sum + w * rows[k * larger + j], 0));
  return result;
}

function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
