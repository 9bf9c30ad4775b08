// Zoom: an implicit model at the points of any window, coarse at once and then finer, beside the pixels it was trained on.
"use strict";

const WHOLE = 1.15; // half the side of the first window
const STAGES = [40, 128, 256], FEWER = 24, SLOW = 40; // points on a side, one after another; the first on slow devices, in ms
const MOST = 4, LEAST = 1e-13; // half sides: below, neighboring points are the same number of 64 bits
const view = { model: null, center: [0, 0], half: WHOLE, z: null, x: null, version: 0, done: 0, range: [0, 1], slow: false };

// Values [n, n, C] of the window, those of the middles of n x n cells; rows from `start` to `end`.
function windowPoints(n, start = 0, end = n) {
  const points = new Float64Array(2 * n * (end - start));
  for (let i = start, p = 0; i < end; i++)
    for (let j = 0; j < n; j++) {
      points[p++] = view.center[0] + view.half * ((2 * i + 1) / n - 1);
      points[p++] = view.center[1] + view.half * ((2 * j + 1) / n - 1);
    }
  return points;
}

function setUpZoom(model) {
  view.model = model;
  byId("zoom").hidden = false;
  byId("pixels").textContent = `${model.data_shape[0]}×${model.data_shape[1]}`;
  const canvas = byId("function"), context = canvas.getContext("2d"), small = element("canvas"), channels = model.data_shape[2];

  function show(values, n) {
    paint(small, values, [n, n, channels], ...view.range);
    context.imageSmoothingEnabled = true;
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    view.done = n;
  }
  function rangeOf(values) {
    if (!byId("contrast").checked) return [0, 1];
    return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  }
  function update() {
    const version = ++view.version, n = view.slow ? FEWER : STAGES[0], begun = performance.now();
    const coarse = model.at(view.z, windowPoints(n));
    view.slow = (performance.now() - begun) * (STAGES[0] / n) ** 2 > SLOW;
    view.range = rangeOf(coarse);
    show(coarse, n);
    drawPixels();
    const factor = WHOLE / view.half;
    byId("scale").textContent = `×${factor >= 1e6 ? factor.toExponential(1).replace("e+", "·10^") : factor.toLocaleString("en", { maximumSignificantDigits: 3 })}`;
    let stage = 1, row = 0, values = [];
    const refine = () => { // a few rows at a time, until something changes
      if (version !== view.version || stage >= STAGES.length) return;
      const n = STAGES[stage], end = performance.now() + 14;
      while (row < n && performance.now() < end) {
        values.push(model.at(view.z, windowPoints(n, row, row + 1)));
        row++;
      }
      if (row === n) {
        show(Float64Array.from({ length: n * n * channels }, (_, p) => values[Math.floor(p / (n * channels))][p % (n * channels)]), n);
        [stage, row, values] = [stage + 1, 0, []];
      }
      setTimeout(refine);
    };
    setTimeout(refine, 60);
  }
  function drawPixels() { // pixel i is at -1 + 2 i / (rows - 1), in the middle of its square
    const grid = byId("grid"), target = grid.getContext("2d"), size = grid.width, [rows, columns] = model.data_shape;
    target.clearRect(0, 0, size, size);
    const place = (edge, num, axis) => {
      const at = ((2 * edge - 1) / (num - 1) - 1 - view.center[axis]) / view.half;
      return Math.round((Math.min(1, Math.max(-1, at)) + 1) * 0.5 * size);
    };
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++) {
        const [top, bottom] = [place(i, rows, 0), place(i + 1, rows, 0)], [left, right] = [place(j, columns, 1), place(j + 1, columns, 1)];
        if (top === bottom || left === right) continue;
        const part = (c) => (view.x[(i * columns + j) * channels + c] - view.range[0]) / (view.range[1] - view.range[0] || 1);
        const color = channels === 3 ? [0, 1, 2].map((c) => 255 * part(c)) : blend(colors.paper, colors.ink, part(0));
        target.fillStyle = `rgb(${color.map(Math.round).join()})`;
        target.fillRect(left, top, right - left, bottom - top);
      }
  }
  const bounded = (half) => Math.min(MOST, Math.max(LEAST, half));
  // Zoom so that the point at (x, y), in [-1, 1] of the canvas, stays where it is.
  function zoomAt(x, y, factor) {
    const half = bounded(view.half / factor), change = view.half - half;
    view.center = [view.center[0] + y * change, view.center[1] + x * change];
    view.half = half;
    soon(update);
  }
  function pan(dx, dy) { // in units of half a window
    view.center = [view.center[0] - dy * view.half, view.center[1] - dx * view.half].map((c) => Math.min(MOST, Math.max(-MOST, c)));
    soon(update);
  }
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(2 * (event.clientX - box.left)) / box.width - 1, (2 * (event.clientY - box.top)) / box.height - 1];
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomAt(...place(event), Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0025)));
  }, { passive: false });
  const pointers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    canvas.focus();
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const middle = () => [0, 1].map((axis) => [...pointers.values()].reduce((sum, p) => sum + p[axis], 0) / pointers.size);
    const spread = () => { const [a, b] = [...pointers.values()]; return b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 1; };
    const before = middle(), wide = spread();
    pointers.set(event.pointerId, place(event));
    const after = middle();
    pan(after[0] - before[0], after[1] - before[1]);
    if (pointers.size === 2) zoomAt(...after, spread() / Math.max(wide, 1e-3));
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => pointers.delete(event.pointerId));
  canvas.addEventListener("dblclick", (event) => zoomAt(...place(event), 2));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0.2, 0], ArrowRight: [-0.2, 0], ArrowUp: [0, 0.2], ArrowDown: [0, -0.2] }[event.key];
    const factor = { "+": 1.4, "=": 1.4, "-": 1 / 1.4 }[event.key];
    if (!step && !factor) return;
    event.preventDefault();
    step ? pan(...step) : zoomAt(0, 0, factor);
  });
  byId("zoom-in").addEventListener("click", () => zoomAt(0, 0, 2));
  byId("zoom-out").addEventListener("click", () => zoomAt(0, 0, 0.5));
  byId("zoom-reset").addEventListener("click", () => { Object.assign(view, { center: [0, 0], half: WHOLE }); soon(update); });
  byId("contrast").addEventListener("change", () => soon(update));

  const last = model.examples.length - 1, start = Math.min(8, last);
  const take = (i) => {
    const own = i > last;
    view.z = own ? drawing.z.get(model) : model.examples[i].z;
    view.x = own ? drawing.x.get(model) : unit(model.examples[i].image);
  };
  let chosen = start;
  const group = thumbs(byId("zoom-examples"), model, start, (i) => { chosen = i; take(i); soon(update); });
  if (drawing.z.has(model)) {
    const canvas = group.add("Your drawing"), show = () => paint(canvas, drawing.x.get(model), model.data_shape);
    group.buttons.at(-1).setAttribute("aria-pressed", "false");
    group.buttons.at(-1).title = "Your drawing";
    drawing.listeners.push(() => { show(); if (chosen > last) { take(chosen); soon(update); } });
    show();
  }
  take(start);
  redraws.push(update);
  update();
}

// -- start ------------------------------------------------------------------------------------------------------------

readColors();
const drawable = models.filter((model) => model.encoder && model.drawn && model.examples.length);
if (drawable.length) setUpDrawing(drawable);
const mapped = first((model) => model.map);
if (mapped) setUpMap(mapped);
const morphed = first((model) => model.examples.length > 1);
if (morphed) setUpMorph(morphed);
const sampled = first((model) => model.draw_enters !== null);
if (sampled) setUpSamples(sampled);
const zoomed = first((model) => model.implicit && model.examples.length);
if (zoomed) setUpZoom(zoomed);
byId("made").textContent = data.made;
for (const section of document.querySelectorAll("section:not([hidden])"))
  document.querySelector("nav").append(element("a", { href: `#${section.id}`, textContent: section.querySelector("h2").textContent }));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColors(); redraws.forEach((redraw) => redraw()); });
