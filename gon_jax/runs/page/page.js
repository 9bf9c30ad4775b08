// The page: what a person does, and what the models make of it.
"use strict";

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const floats = readFloats(byId("weights").textContent);
const models = data.models.map((model) => new Model(model, floats));
const PALETTE = ["#e4572e", "#2e86ab", "#7b9e3b", "#a35fb5", "#d99a00", "#1f9e89", "#c94f7c", "#6f7bd9", "#8d6e52", "#5b8c8f"];
const first = (test) => models.find(test);
const element = (name, options = {}, ...children) => {
  const made = Object.assign(document.createElement(name), options);
  made.append(...children);
  return made;
};

// -- painting ---------------------------------------------------------------------------------------------------------

let colors;
function readColors() {
  const style = getComputedStyle(document.documentElement);
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  colors = {};
  for (const name of ["paper", "ink", "soft", "line", "accent", "card", "plus", "minus"]) {
    probe.fillStyle = style.getPropertyValue(`--${name}`);
    probe.fillRect(0, 0, 1, 1);
    colors[name] = [...probe.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  }
}
const css = (name) => `rgb(${colors[name].join()})`;
const blend = (from, to, t) => from.map((value, i) => value + (to[i] - value) * Math.min(1, Math.max(0, t)));

// Paint values [rows, columns, channels] in [low, high]: one channel from paper to ink, three as they are.
function paint(canvas, values, [rows, columns, channels], low = 0, high = 1) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  for (let p = 0; p < rows * columns; p++) {
    const unit = (c) => (values[p * channels + c] - low) / (high - low || 1);
    const color = channels === 3 ? [0, 1, 2].map((c) => 255 * unit(c)) : blend(colors.paper, colors.ink, unit(0));
    image.data.set([...color, 255], 4 * p);
  }
  context.putImageData(image, 0, 0);
}

// What a model decodes to look at: an implicit one at more points than its pixels.
const FINE = 48;
function paintDecoded(canvas, model, z) {
  if (!model.implicit) return paint(canvas, model.decode(z), model.data_shape);
  const n = FINE, points = gridPoints(n, n);
  paint(canvas, model.at(z, points), [n, n, model.data_shape[2]]);
}

const redraws = []; // what to do again when the colors change
const waiting = new Set();
function soon(task) { // once per frame, however often it is asked for
  if (waiting.has(task)) return;
  waiting.add(task);
  requestAnimationFrame(() => { waiting.delete(task); task(); });
}

// Buttons with pictures, of which one is pressed; the last stands for the drawing once there is one.
function thumbs(container, model, pressed, choose) {
  const buttons = [], press = (i) => {
    buttons.forEach((button, j) => button.setAttribute("aria-pressed", String(i === j)));
    choose(i);
  };
  const add = (label) => {
    const canvas = element("canvas"), i = buttons.length;
    const button = element("button", { type: "button", ariaLabel: label }, canvas);
    button.addEventListener("click", () => press(i));
    buttons.push(button);
    container.append(button);
    return canvas;
  };
  const canvases = model.examples.map((example) => add(`Example: ${example.label}`));
  const draw = () => canvases.forEach((canvas, i) => paint(canvas, unit(model.examples[i].image), model.data_shape));
  redraws.push(draw);
  draw();
  buttons.forEach((button, j) => button.setAttribute("aria-pressed", String(pressed === j)));
  return { press, add, buttons };
}
const unit = (bytes) => Float64Array.from(bytes, (value) => value / 255);

for (const model of models) {
  const size = model.data_shape.reduce((a, b) => a * b, 1);
  const bytes = Uint8Array.from(atob(model.images), (c) => c.charCodeAt(0));
  model.examples = model.labels.map((label, i) => ({
    label, image: bytes.subarray(i * size, (i + 1) * size),
    z: floats.subarray(model.latents[0] + i * model.latent_size, model.latents[0] + (i + 1) * model.latent_size),
  }));
}

// -- draw -------------------------------------------------------------------------------------------------------------

const drawing = { strokes: [], example: -1, x: new Map(), z: new Map(), listeners: [] };

// How much of each of n x n cells the strokes cover, in bytes; the drawing is centered and scaled as the data are.
function coverage(strokes, n, { stroke, fit }) {
  const scale = Math.ceil(128 / n), size = n * scale, canvas = element("canvas", { width: size, height: size });
  const context = canvas.getContext("2d", { willReadFrequently: true }), points = strokes.flat();
  let factor = 1, cx = 0.5, cy = 0.5;
  if (points.length) {
    const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const [tall, wide] = fit.map((part) => part - stroke);
    factor = Math.min(2, Math.max(0.5, Math.min(tall / (bottom - top || 1e-9), wide / (right - left || 1e-9))));
    [cx, cy] = [(left + right) / 2, (top + bottom) / 2];
  }
  const place = ([x, y]) => [(0.5 + (x - cx) * factor) * size, (0.5 + (y - cy) * factor) * size];
  trace(context, strokes.map((points) => points.map(place)), stroke * size, "#000");
  const pixels = context.getImageData(0, 0, size, size).data, bytes = new Float64Array(n * n);
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++)
      bytes[Math.floor(i / scale) * n + Math.floor(j / scale)] += pixels[4 * (i * size + j) + 3] / scale ** 2;
  return bytes.map(Math.round);
}

function trace(context, strokes, width, color) {
  Object.assign(context, { lineWidth: width, lineCap: "round", lineJoin: "round", strokeStyle: color });
  for (const points of strokes) {
    context.beginPath();
    points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    if (points.length === 1) context.lineTo(points[0][0] + 1e-3, points[0][1]);
    context.stroke();
  }
}

// What a model is given of the drawing: floats in [0, 1] of its size.
function seen(model) {
  if (drawing.example >= 0) return unit(model.examples[drawing.example].image);
  const { block, stroke } = model.drawn, [size] = model.data_shape, cells = coverage(drawing.strokes, block, model.drawn);
  return unit(block === size ? cells : enlarge(cells, block, size));
}

function setUpDrawing(drawable) {
  const pad = byId("pad"), context = pad.getContext("2d"), main = drawable[0];
  byId("draw").hidden = false;
  const figures = drawable.map((model) => {
    const canvas = element("canvas", { className: "picture", role: "img", ariaLabel: `Reconstruction by ${model.title}` });
    const error = element("small", { className: "number" });
    byId("results").append(element("figure", {}, canvas, element("figcaption", {}, element("b", { textContent: model.title }),
      element("small", { textContent: model.words }), error)));
    return { model, canvas, error };
  });
  const input = element("canvas", { className: "picture", role: "img", ariaLabel: "The picture that is encoded" });
  byId("results").prepend(element("figure", {}, input, element("figcaption", {},
    element("b", { textContent: "What is encoded" }),
    element("small", { textContent: `${main.data_shape[0]}×${main.data_shape[1]} pixels, centered and scaled as the data are` }))));
  const bars = setUpMatrix(main);

  function update() {
    for (const { model, canvas, error } of figures) {
      const x = seen(model), z = model.encode(x), decoded = model.decode(z);
      drawing.x.set(model, x);
      drawing.z.set(model, z);
      paintDecoded(canvas, model, z);
      const sum = x.reduce((total, value, i) => total + (value - decoded[i]) ** 2, 0);
      error.textContent = `RMS error per pixel ${Math.sqrt(sum / x.length).toFixed(3)}`;
    }
    paint(input, drawing.x.get(main), main.data_shape);
    bars(drawing.z.get(main));
    const width = pad.width;
    context.clearRect(0, 0, width, width);
    if (drawing.example >= 0) {
      const small = element("canvas");
      paint(small, drawing.x.get(main), main.data_shape);
      context.drawImage(small, 0, 0, width, width);
    } else trace(context, drawing.strokes.map((s) => s.map(([x, y]) => [x * width, y * width])), main.drawn.stroke * width, css("ink"));
    if (drawing.example >= 0 || !drawing.strokes.length) {
      context.font = "500 30px system-ui, sans-serif";
      context.textAlign = "center";
      context.fillStyle = css("accent");
      context.fillText("Draw here", width / 2, width - 24);
    }
    drawing.listeners.forEach((listener) => listener());
  }

  const buttons = thumbs(byId("draw-examples"), main, 3, (i) => { drawing.example = i; drawing.strokes = []; soon(update); });
  const release = () => buttons.buttons.forEach((button) => button.setAttribute("aria-pressed", "false"));
  const place = (event) => {
    const box = pad.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  pad.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    pad.setPointerCapture(event.pointerId);
    drawing.example = -1;
    release();
    drawing.strokes.push([place(event)]);
    soon(update);
  });
  pad.addEventListener("pointermove", (event) => {
    if (!pad.hasPointerCapture(event.pointerId)) return;
    const events = event.getCoalescedEvents?.() ?? [];
    drawing.strokes.at(-1).push(...(events.length ? events : [event]).map(place));
    soon(update);
  });
  byId("clear").addEventListener("click", () => { drawing.example = -1; drawing.strokes = []; release(); soon(update); });
  drawing.example = Math.min(3, main.examples.length - 1);
  redraws.push(update);
  update();
}

// The columns of the encoder's matrix as pictures, each above the number that it makes. Returns what draws the numbers.
function setUpMatrix(model) {
  const kernel = model.encoder.find(([kind]) => kind === "dense")[1].kernel, num = model.latent_size;
  const [rows, columns, channels] = model.data_shape, shown = Math.min(num, 32), parts = [];
  for (let k = 0; k < shown; k++) {
    const canvas = element("canvas", { width: columns, height: rows, ariaHidden: "true" });
    const bar = element("span"), value = element("span", { className: "number" });
    byId("matrix").append(element("figure", {}, canvas, element("figcaption", {},
      element("span", { className: "bar" }, bar), value)));
    parts.push({ canvas, bar, value });
  }
  const draw = () => parts.forEach(({ canvas }, k) => {
    const column = Array.from({ length: rows * columns }, (_, p) => kernel[p * channels * num + k]);
    const most = Math.max(...column.map(Math.abs)), context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    column.forEach((w, p) => image.data.set([...blend(colors.paper, w > 0 ? colors.plus : colors.minus, Math.abs(w) / most), 255], 4 * p));
    context.putImageData(image, 0, 0);
  });
  redraws.push(draw);
  draw();
  const most = Math.max(1e-9, ...model.examples.flatMap(({ z }) => [...z].map(Math.abs))) * 1.2;
  return (z) => parts.forEach(({ bar, value }, k) => {
    const part = Math.min(1, Math.abs(z[k]) / most) * 50;
    bar.style.cssText = `width:${part}%;left:${z[k] < 0 ? 50 - part : 50}%;background:var(--${z[k] < 0 ? "minus" : "plus"})`;
    value.textContent = z[k].toFixed(2).replace("-", "−");
  });
}

// -- explore ----------------------------------------------------------------------------------------------------------

const map = { model: null, at: [0, 0] };

function latentAt([u, v]) {
  const { mean, axes } = map.model.map, k = map.model.latent_size, read = ([start, length]) => floats.subarray(start, start + length);
  const [m, a] = [read(mean), read(axes)];
  return Float64Array.from(m, (value, i) => value + u * a[i] + v * a[k + i]);
}

function mapOf(model, z) { // the point of the plane that is nearest
  const { mean, axes } = model.map, k = model.latent_size, m = floats.subarray(mean[0], mean[0] + k), a = floats.subarray(axes[0], axes[0] + 2 * k);
  return [0, 1].map((axis) => z.reduce((sum, value, i) => sum + (value - m[i]) * a[axis * k + i], 0));
}

function setUpMap(model) {
  map.model = model;
  byId("map").hidden = false;
  const { points, labels, names } = model.map, plane = byId("plane"), context = plane.getContext("2d"), size = plane.width;
  const all = Array.from({ length: labels.length }, (_, i) => floats.subarray(points[0] + 2 * i, points[0] + 2 * i + 2));
  const reach = 1.12 * Math.max(...all.map(([u, v]) => Math.max(Math.abs(u), Math.abs(v))));
  const toPlane = ([u, v]) => [(0.5 + u / (2 * reach)) * size, (0.5 - v / (2 * reach)) * size];
  const colorOf = (label) => PALETTE[Math.max(0, label) % PALETTE.length];
  const numerals = names.length && names.every((name) => name.length === 1);
  byId("mark").textContent = numerals ? "numeral" : "dot";
  names.forEach((name, i) => !numerals && byId("legend").append(
    element("span", {}, element("i", { style: `background:${colorOf(i)}` }), name)));

  function update() {
    context.clearRect(0, 0, size, size);
    Object.assign(context, { font: "600 21px system-ui, sans-serif", textAlign: "center", textBaseline: "middle", lineWidth: 2 });
    all.forEach((point, i) => {
      const [x, y] = toPlane(point);
      context.fillStyle = colorOf(labels[i]);
      if (numerals) context.fillText(names[labels[i]], x, y);
      else { context.beginPath(); context.arc(x, y, 5, 0, 7); context.fill(); }
    });
    const drawn = drawing.z.get(model);
    if (drawn) {
      const [x, y] = toPlane(mapOf(model, drawn));
      Object.assign(context, { strokeStyle: css("ink"), lineWidth: 4 });
      context.setLineDash([7, 5]);
      context.beginPath(); context.arc(x, y, 20, 0, 7); context.stroke();
      context.setLineDash([]);
      context.fillStyle = css("ink");
      context.fillText("yours", x, y + (y > size - 60 ? -36 : 36));
    }
    const [x, y] = toPlane(map.at);
    for (const [color, width] of [[css("card"), 10], [css("accent"), 5]]) {
      Object.assign(context, { strokeStyle: color, lineWidth: width });
      context.beginPath(); context.arc(x, y, 22, 0, 7); context.stroke();
    }
    paintDecoded(byId("there"), model, latentAt(map.at));
    byId("where").textContent = map.at.map((value) => value.toFixed(2).replace("-", "−")).join(", ");
  }
  const move = (at) => { map.at = at.map((value) => Math.min(reach, Math.max(-reach, value))); soon(update); };
  const moveTo = (event) => {
    const box = plane.getBoundingClientRect();
    move([((event.clientX - box.left) / box.width - 0.5) * 2 * reach, (0.5 - (event.clientY - box.top) / box.height) * 2 * reach]);
  };
  plane.addEventListener("pointerdown", (event) => { event.preventDefault(); plane.focus(); plane.setPointerCapture(event.pointerId); moveTo(event); });
  plane.addEventListener("pointermove", (event) => plane.hasPointerCapture(event.pointerId) && moveTo(event));
  plane.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    move(map.at.map((value, i) => value + (step[i] * reach) / 40));
  });
  drawing.listeners.push(() => soon(update));
  map.at = [...all[0]];
  redraws.push(update);
  update();
}

// -- morph ------------------------------------------------------------------------------------------------------------

const morph = { model: null, ends: [0, 1], z: null };
const STRIP = 11;

function setUpMorph(model) {
  morph.model = model;
  byId("morph").hidden = false;
  const slider = byId("mix"), strip = Array.from({ length: STRIP }, () => element("canvas"));
  byId("strip").append(...strip);
  const latent = (i) => (i < model.examples.length ? model.examples[i].z : drawing.z.get(model));
  morph.between = (t) => slerp(latent(morph.ends[0]), latent(morph.ends[1]), t);
  const now = () => {
    morph.z = morph.between(Number(slider.value));
    paintDecoded(byId("between"), model, morph.z);
    strip.forEach((canvas, i) => canvas.classList.toggle("now", Math.round(slider.value * (STRIP - 1)) === i));
  };
  const update = () => { strip.forEach((canvas, i) => paintDecoded(canvas, model, morph.between(i / (STRIP - 1)))); now(); };
  const last = model.examples.length - 1;
  morph.ends = [Math.min(1, last), Math.min(8, last)];
  const groups = ["from", "to"].map((id, end) =>
    thumbs(byId(id), model, morph.ends[end], (i) => { morph.ends[end] = i; soon(update); }));
  if (drawing.z.has(model)) {
    const own = groups.map((group) => group.add("Your drawing"));
    const show = () => own.forEach((canvas) => paint(canvas, drawing.x.get(model), model.data_shape));
    groups.forEach(({ buttons }) => { buttons.at(-1).title = "Your drawing"; buttons.at(-1).setAttribute("aria-pressed", "false"); });
    drawing.listeners.push(() => { show(); if (morph.ends.includes(last + 1)) soon(update); });
    show();
  }
  slider.addEventListener("input", () => soon(now));
  redraws.push(update);
  update();
}

// -- sample -----------------------------------------------------------------------------------------------------------

const NUM_SAMPLES = 24, samples = { model: null, draws: [] };

function setUpSamples(model) {
  samples.model = model;
  byId("samples").hidden = false;
  const canvases = Array.from({ length: NUM_SAMPLES }, (_, i) => element("canvas", { role: "img", ariaLabel: `Sample ${i + 1}` }));
  byId("sample-grid").append(...canvases);
  const update = () => canvases.forEach((canvas, i) => paint(canvas, model.decodeDraw(samples.draws[i]), model.data_shape));
  const draw = () => { samples.draws = canvases.map(() => Float64Array.from({ length: model.latent_size }, normal)); update(); };
  byId("again").addEventListener("click", draw);
  redraws.push(update);
  draw();
}
