"use strict";
// All frames as points: figures of their labels, brought to two dimensions; a line drawn around some shows these alone.

const MAP_SAMPLE = 20000; // frames that the axes are found by
const map = { x: null, y: null, line: null, known: 0 };

/** The two directions in which standardised figures vary most (principal components), found by power iteration. */
function project() {
  const step = Math.max(1, Math.ceil(frames.count / MAP_SAMPLE)), used = [], centre = [], spread = [];
  figures.forEach((column, k) => {
    let n = 0, sum = 0, square = 0;
    for (let i = 0; i < column.length; i += step) { const v = column[i]; if (v === v) { n++; sum += v; square += v * v; } }
    const mean = sum / n, deviation = Math.sqrt(Math.max(0, square / n - mean * mean));
    if (n > 2 && deviation > 1e-6) { used.push(k); centre.push(mean); spread.push(deviation); }
  });
  const size = used.length, at = (i, m) => { const v = figures[used[m]][i]; return v === v ? (v - centre[m]) / spread[m] : 0; };
  if (size < 2) return false;
  const covariance = Array.from({ length: size }, () => new Float64Array(size)), row = new Float64Array(size);
  for (let i = 0; i < frames.count; i += step) {
    if (!seen[i]) continue;
    for (let m = 0; m < size; m++) row[m] = at(i, m);
    for (let m = 0; m < size; m++) for (let n = 0; n < size; n++) covariance[m][n] += row[m] * row[n];
  }
  const axes = [];
  for (let axis = 0; axis < 2; axis++) {
    let vector = Float64Array.from({ length: size }, (_, m) => 1 + ((m * 7 + axis * 3) % 5)), length = 1;
    for (let round = 0; round < 200; round++) {
      let next = covariance.map((line) => line.reduce((sum, value, m) => sum + value * vector[m], 0));
      for (const other of axes) { const along = next.reduce((sum, value, m) => sum + value * other[m], 0); next = next.map((value, m) => value - along * other[m]); }
      length = Math.hypot(...next) || 1;
      vector = Float64Array.from(next, (value) => value / length);
    }
    axes.push(vector);
  }
  const places = axes.map((vector) => {
    const out = new Float32Array(frames.count).fill(NaN);
    let low = Infinity, high = -Infinity;
    for (let i = 0; i < frames.count; i++) {
      if (!seen[i]) continue;
      let sum = 0;
      for (let m = 0; m < size; m++) sum += vector[m] * at(i, m);
      out[i] = sum;
      if (sum < low) low = sum;
      if (sum > high) high = sum;
    }
    for (let i = 0; i < frames.count; i++) out[i] = (out[i] - low) / Math.max(high - low, 1e-9);
    return out;
  });
  [map.x, map.y] = places;
  map.known = seen.reduce((sum, one) => sum + one, 0);
  return true;
}

/** Draw the points; those that are shown in the grid in their dataset's colour, the rest faint. */
function drawMap() {
  const canvas = document.querySelector("#map canvas");
  if (!canvas || !map.x) return;
  const wide = (canvas.width = canvas.clientWidth), high = (canvas.height = canvas.clientHeight), context = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement), colour = ["--d0", "--d1"].map((name) => style.getPropertyValue(name)), dot = frames.count > 20000 ? 1 : 3;
  const place = (i) => [4 + map.x[i] * (wide - 8), 4 + map.y[i] * (high - 8)];
  const shown = new Uint8Array(frames.count);
  for (const i of order) shown[i] = 1;
  context.fillStyle = style.getPropertyValue("--line");
  for (let i = 0; i < frames.count; i++) if (!shown[i] && map.x[i] === map.x[i]) { const [x, y] = place(i); context.fillRect(x, y, dot, dot); }
  for (const d of [0, 1]) {
    context.fillStyle = colour[d];
    for (const i of order) if (frames.dataset[i] === d && map.x[i] === map.x[i]) { const [x, y] = place(i); context.fillRect(x, y, dot, dot); }
  }
  if (map.line) {
    context.strokeStyle = style.getPropertyValue("--ink");
    context.beginPath();
    map.line.forEach(([x, y], k) => (k ? context.lineTo(x * wide, y * high) : context.moveTo(x * wide, y * high)));
    context.closePath();
    context.stroke();
  }
}

/** Whether a point lies within a line that closes on itself: the crossings to its right are odd. */
function within([x, y], line) {
  let inside = false;
  for (let k = 0, j = line.length - 1; k < line.length; j = k++) {
    const [ax, ay] = line[k], [bx, by] = line[j];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
  }
  return inside;
}

/** Show only the frames within the line that was drawn. */
function lasso() {
  const canvas = document.querySelector("#map canvas"), wide = canvas.clientWidth, high = canvas.clientHeight;
  chosen = null;
  if (map.line.length > 2) {
    chosen = new Uint8Array(frames.count);
    for (let i = 0; i < frames.count; i++)
      if (map.x[i] === map.x[i]) chosen[i] = within([(4 + map.x[i] * (wide - 8)) / wide, (4 + map.y[i] * (high - 8)) / high], map.line) ? 1 : 0;
  }
  changed();
  drawMap();
}

function showMap() {
  if (!project()) return;
  const canvas = el("canvas", { role: "img", tabindex: 0, "aria-label": "Frames by the figures of their labels; draw around some to see them alone" });
  const at = (event) => { const area = canvas.getBoundingClientRect(); return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height]; };
  canvas.addEventListener("pointerdown", (event) => { map.line = [at(event)]; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => { if (canvas.hasPointerCapture(event.pointerId)) { map.line.push(at(event)); if (frames.count < 50000) drawMap(); } });
  canvas.addEventListener("pointerup", (event) => { canvas.releasePointerCapture(event.pointerId); lasso(); });
  const out = el("button", { title: "Leave all frames that are shown out of training, or take them back", onclick: () => {
    const all = Array.from(order), back = all.every((i) => excluded.has(i));
    for (const i of all) if (back) excluded.delete(i); else excluded.add(i);
    refreshMarks();
    showUnsaved();
  } }, "✕ exclude what is shown");
  document.getElementById("map").replaceChildren(el("p", { class: "dim" }, `${number(map.known)} frames by coverage, confidence and mean of their labels, brightness and contrast (principal components); draw around some to see these alone `, out), canvas);
  drawMap();
}

document.getElementById("mapped").addEventListener("toggle", (event) => { if (event.target.open) showMap(); });

// --- more like one ---------------------------------------------------------------------------------------------------

/** Show the frames that look most like this one, by a perceptual hash of each; those are as many as are known so far. */
async function moreLike(i) {
  try {
    const like = await (await ask(address("like", i))).json();
    likeness.fill(NaN);
    chosen = new Uint8Array(frames.count);
    for (const [shard, row, alike] of like) { const k = frameAt(frames.dataset[i], shard, row); if (k >= 0) { chosen[k] = 1; likeness[k] = alike; } }
    view.sort = "like";
    dialog.close();
    showTools();
    arrange();
    document.getElementById("frames").scrollIntoView();
  } catch (error) { say(`not found: ${error.message}`); }
}
