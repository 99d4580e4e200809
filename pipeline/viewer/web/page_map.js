"use strict";
// All frames as points: figures of their labels, or what a run's backbone sees in them, brought to two dimensions; a
// line drawn around some shows these alone.

const MAP_SAMPLE = 20000; // frames that the axes are found by
const map = { x: null, y: null, line: null, known: 0, by: report.map_by ? "run" : "labels" };
const ofRun = { places: report.map_by ? [columnOf(), columnOf()] : null, taken: report.datasets.map(() => 0) };

/** Take up where the server has placed the frames of a dataset by what the run's backbone sees in them. */
async function takePlaces(d) {
  const data = new Float32Array(await (await ask(`/map/${d}`)).arrayBuffer()), rows = data.length / 2;
  ofRun.places.forEach((column, k) => column.set(data.subarray(k * rows, (k + 1) * rows), firstOf[d]));
  ofRun.taken[d] = rows;
}

/** Take up all that is new; the map is drawn anew unless something is chosen on it. */
async function refreshPlaces() {
  if (!report.map_by || !jobs.placed) return;
  const news = jobs.placed.map((rows, d) => d).filter((d) => jobs.placed[d] > ofRun.taken[d]);
  if (!news.length) return;
  for (let d = 0; d < report.datasets.length; d++) if (jobs.placed[d]) await takePlaces(d); // the axes are new for all
  if (map.by === "run" && !chosen && document.getElementById("mapped").open) showMap();
}

/** Where the run has its frames; false: nowhere yet. */
function placeByRun() {
  const known = ofRun.places[0].reduce((sum, x) => sum + (x === x), 0);
  if (!known) return false;
  [map.x, map.y] = ofRun.places;
  map.known = known;
  return true;
}

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
  const style = getComputedStyle(document.documentElement), colour = ["--d0", "--d1"].map((name) => style.getPropertyValue(name)), dot = frames.count > 20000 ? 1 : frames.count > 2000 ? 3 : 5;
  const place = (i) => [4 + map.x[i] * (wide - 8) - dot / 2, 4 + map.y[i] * (high - 8) - dot / 2];
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

const MAP_BY = { labels: "coverage, confidence and mean of their labels, brightness and contrast", run: `what the backbone of ${report.map_by} sees in them` };

function showMap() {
  const box = document.getElementById("map"), by = report.map_by ? choice("mapby", "by", [["run", report.map_by], ["labels", "figures of labels"]], map.by, (value) => { map.by = value; chosen = map.line = null; changed(); showMap(); }) : "";
  map.x = map.y = null;
  if (!(map.by === "run" ? placeByRun() : project())) { box.replaceChildren(el("p", { class: "dim" }, by, " of too few frames is enough known yet")); return; }
  const canvas = el("canvas", { role: "img", tabindex: 0, "aria-label": `Frames by ${MAP_BY[map.by]}; draw around some to see them alone` });
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
  box.replaceChildren(el("p", { class: "dim" }, by, ` ${number(map.known)} frames by ${MAP_BY[map.by]} (principal components); draw around some to see these alone `, out), canvas);
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
