"use strict";
// The grid of frames: only the rows in view exist, so that it stays quick however many frames there are.

const grid = document.getElementById("grid");
const view = { sort: "order", label: "", dataset: "", kind: "", cls: "", ticked: "", search: "", tile: 152, opacity: 0.75, layers: new Set() };
for (const field of labels.filter((field) => field.name === "edges").concat(labels).slice(0, 1)) view.layers.add(field.name); // one is on from the start
const GAP = 6, CAPTION = 20, MARGIN_ROWS = 2, QUIET_MS = 50, MOST_HEIGHT = 3e7; // browsers end elements near 3.3e7 px
let order = [], cursor = 0, columns = 1, tileSize = view.tile, quiet = 0, drawAgain = 0;
const tiles = new Map(); // place in `order` → tile

const SORTS = {
  order: ["in order", null],
  least: ["least confident", (i) => confidence(i, view.label)],
  most: ["most confident", (i) => { const c = confidence(i, view.label); return c === null ? null : -c; }],
  odd: ["oddest", (i) => (odd[i] && odd[i].length ? -odd[i][0] : null)],
  source: ["source", (i) => sourceOf(i)],
  class: ["most of class", (i) => (figures[i] ? -classShare(i) : null)],
};
const classShare = (i) => (view.cls === "" ? Math.max(0, ...Object.values(figures[i].classes)) : figures[i].classes[view.cls] ?? 0);

/** Which frames are shown, in which order. */
function arrange() {
  const kept = [];
  const search = view.search.toLowerCase();
  for (let i = 0; i < frames.count; i++) {
    if (view.dataset !== "" && frames.dataset[i] !== +view.dataset) continue;
    if (view.kind && kindOf(i) !== view.kind) continue;
    if (view.cls !== "" && !(figures[i] && figures[i].classes[view.cls])) continue;
    if (view.ticked && excluded.has(i) !== (view.ticked === "yes")) continue;
    if (search && !sourceOf(i).toLowerCase().includes(search)) continue;
    kept.push(i);
  }
  const by = SORTS[view.sort][1];
  if (by) {
    const keys = new Map(kept.map((i) => [i, by(i)]));
    kept.sort((a, b) => {
      const x = keys.get(a), y = keys.get(b);
      if (x === y || (x === null && y === null)) return a - b;
      return x === null ? 1 : y === null ? -1 : x < y ? -1 : 1; // what is not known yet comes last
    });
  }
  order = kept;
  cursor = Math.max(0, Math.min(cursor, order.length - 1));
  for (const tile of tiles.values()) tile.remove();
  tiles.clear();
  draw();
}

function measureGrid() {
  const width = grid.clientWidth;
  columns = Math.max(1, Math.floor((width + GAP) / (view.tile + GAP)));
  tileSize = Math.floor((width - (columns - 1) * GAP) / columns);
}

/** Make the tiles of the rows in view, and drop all others. */
function draw() {
  measureGrid();
  const pitch = tileSize + CAPTION + GAP, rows = Math.min(Math.ceil(order.length / columns), Math.floor(MOST_HEIGHT / pitch));
  grid.style.height = Math.max(rows * pitch, 40) + "px";
  const top = -grid.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor(top / pitch) - MARGIN_ROWS);
  const last = Math.min(rows - 1, Math.floor((top + innerHeight) / pitch) + MARGIN_ROWS);
  for (const [k, tile] of tiles) if (k < first * columns || k >= (last + 1) * columns) { tile.remove(); tiles.delete(k); }
  const added = document.createDocumentFragment();
  for (let k = first * columns; k < Math.min(order.length, (last + 1) * columns); k++) {
    let tile = tiles.get(k);
    if (!tile) { tile = makeTile(k); tiles.set(k, tile); added.append(tile); }
    tile.style.cssText = `width:${tileSize}px;height:${tileSize + CAPTION}px;transform:translate(${(k % columns) * (tileSize + GAP)}px,${Math.floor(k / columns) * pitch}px)`;
  }
  grid.append(added);
  document.getElementById("shown").textContent = shownText();
  if (report.live) { clearTimeout(quiet); quiet = setTimeout(fill, QUIET_MS); } else fill(); // what flies by is not asked for
}

function shownText() {
  const total = report.datasets.reduce((sum, d) => sum + d.figures.rows, 0);
  const all = frames.count === total ? "" : report.live ? ` on this page · ${number(total)} in all` : ` · a sample of ${number(frames.count)} of ${number(total)} frames, spread evenly over the clips`;
  const skipped = report.datasets.reduce((sum, d) => sum + (d.skipped || 0), 0);
  return `${number(order.length)} of ${number(frames.count)}${all}${skipped ? ` · ${count(skipped, "frame")} of the sample can't be read` : ""}`;
}

function redraw() {
  if (!drawAgain) drawAgain = requestAnimationFrame(() => { drawAgain = 0; draw(); });
}

function makeTile(k) {
  const i = order[k];
  const tile = el("div", { class: "tile", role: "option", id: `tile${k}`, "data-frame": i, "aria-label": nameOf(i) },
    el("div", { class: "picture" }),
    el("button", { class: "tick", tabindex: -1, title: "Leave this frame out of training (x)", "aria-label": "Exclude" }, "✕"),
    el("div", { class: "caption", title: sourceOf(i) }, el("span", { class: "name" }, nameOf(i)), el("span", { class: "score" }, scoreOf(i))));
  mark(tile, k);
  return tile;
}

// Clips whose last names are the same go by as much of their sources as tells them apart, and by their number if nothing does.
const captions = report.datasets.map((d) => tellApart(d.clips.source));
const nameOf = (i) => `${captions[frames.dataset[i]][frames.clip[i]]} · ${numberInClip(i)}`;

function tellApart(sources) {
  const named = sources.map(short), groups = new Map();
  named.forEach((name, k) => (groups.has(name) ? groups.get(name).push(k) : groups.set(name, [k])));
  for (const same of groups.values()) {
    if (same.length === 1) continue;
    const parts = same.map((k) => sources[k].split(/[\\/]/)), seen = new Map();
    for (let deep = 2; deep <= 5; deep++) {
      const names = parts.map((part) => part.slice(-deep).join("/"));
      same.forEach((k, n) => { named[k] = names[n]; });
      if (new Set(names).size === same.length) break;
    }
    for (const k of same) { // parts of one source
      const nth = (seen.get(named[k]) || 0) + 1;
      seen.set(named[k], nth);
      if (nth > 1) named[k] += ` (${nth})`;
    }
  }
  return named;
}

/** What the frame is sorted by, for its caption. */
function scoreOf(i) {
  if (view.sort === "odd") return odd[i] && odd[i].length ? `${odd[i][0].toFixed(1)} σ` : "…";
  if (view.sort === "class") return figures[i] ? percent(classShare(i), 0) : "…";
  const c = confidence(i, view.sort === "least" || view.sort === "most" ? view.label : "");
  return c === null ? (figures[i] ? "" : "…") : c.toFixed(2);
}

function mark(tile, k) {
  const i = order[k];
  tile.classList.toggle("excluded", excluded.has(i));
  tile.classList.toggle("cursor", k === cursor);
  if (two) tile.classList.add(`d${frames.dataset[i]}`);
  tile.setAttribute("aria-selected", excluded.has(i));
}

/** Set the pictures of the tiles in view, and their layers. */
function fill() {
  const wanted = ["image", ...view.layers];
  for (const tile of tiles.values()) {
    const i = +tile.dataset.frame, box = tile.firstChild;
    const side = tileSize > 200 ? 384 : 192;
    const have = new Map([...box.children].map((img) => [img.dataset.field, img]));
    for (const [name, img] of have) if (!wanted.includes(name)) img.remove();
    for (const name of wanted) {
      const source = name === "image" ? pictureOf(i, name, side) : layerOf(i, name, side);
      if (!have.has(name) && source)
        box.append(el("img", { "data-field": name, class: name === "image" ? "base" : "layer", alt: name === "image" ? "" : name, src: source, decoding: "async", onerror: broken }));
    }
    for (const img of box.querySelectorAll(".layer")) img.style.opacity = view.opacity;
    const lacks = [...view.layers].filter((name) => !hasField(i, name));
    if (lacks.length) box.dataset.lacks = `no ${lacks.join(", ")}`; else delete box.dataset.lacks;
    tile.querySelector(".score").textContent = scoreOf(i);
    if (!hasField(i, "image")) box.classList.add("blank");
  }
}

function broken(event) {
  event.target.parentNode?.classList.add("broken");
  event.target.remove();
}

function refreshMarks() {
  for (const [k, tile] of tiles) mark(tile, k);
  grid.setAttribute("aria-activedescendant", `tile${cursor}`);
}

function moveTo(k) {
  cursor = Math.max(0, Math.min(order.length - 1, k));
  const pitch = tileSize + CAPTION + GAP, y = Math.floor(cursor / columns) * pitch + grid.getBoundingClientRect().top;
  const bar = document.getElementById("tools").getBoundingClientRect().bottom;
  if (y < bar) scrollBy(0, y - bar - GAP);
  else if (y + pitch > innerHeight) scrollBy(0, y + pitch - innerHeight);
  draw();
  refreshMarks();
}

/** Exclude a frame, or its whole clip, or take it back. */
function exclude(i, clip = false) {
  const out = !excluded.has(i);
  const them = [i];
  if (clip) for (const by of [-1, 1]) for (let k = neighbour(i, by); k >= 0; k = neighbour(k, by)) them.push(k);
  for (const k of them) if (out) excluded.add(k); else excluded.delete(k);
  refreshMarks();
  showUnsaved();
}

grid.addEventListener("click", (event) => {
  const tile = event.target.closest(".tile");
  if (!tile) return;
  const k = +tile.id.slice(4);
  cursor = k;
  refreshMarks();
  if (event.target.closest(".tick")) exclude(order[k]);
  else openFrame(order[k]);
});
grid.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (step) moveTo(cursor + step);
  else if (event.key === "Home") moveTo(0);
  else if (event.key === "End") moveTo(order.length - 1);
  else if (event.key === "Enter" && order.length) openFrame(order[cursor]);
  else if (event.key.toLowerCase() === "x" && order.length) exclude(order[cursor], event.shiftKey);
  else return;
  event.preventDefault();
});
addEventListener("scroll", redraw, { passive: true });
new ResizeObserver(redraw).observe(grid);
