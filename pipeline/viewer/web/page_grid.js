"use strict";
// The grid of frames: only the rows in view exist, so that it stays quick however many frames there are.

const grid = document.getElementById("grid");
const view = { sort: "order", label: "", dataset: "", kind: "", cls: "", ticked: "", search: "", tile: 152, opacity: 0.75, layers: new Set(), least: 0, ranges: new Map(), tag: "" };
let chosen = null; // by frame, whether a lasso or a likeness has it; null: nothing is chosen
for (const field of labels.filter((field) => field.name === "edges").concat(labels).slice(0, 1)) view.layers.add(field.name); // one is on from the start
const GAP = 6, CAPTION = 20, MARGIN_ROWS = 2, QUIET_MS = 50, MOST_HEIGHT = 3e7; // browsers end elements near 3.3e7 px
const likeness = columnOf(); // to the frame whose like was asked for
let order = new Uint32Array(0), cursor = 0, columns = 1, tileSize = view.tile, quiet = 0, drawAgain = 0;
const tiles = new Map(); // place in `order` → tile

// What frames are sorted by: a column of numbers, smallest first, NaN (not known yet) last; null: as they lie.
const SORTS = {
  order: ["in order", null],
  least: ["least confident", () => computed((i) => confidence(i, view.label))],
  most: ["most confident", () => computed((i) => -confidence(i, view.label))],
  odd: ["oddest", () => computed((i) => -oddScore[i])],
  source: ["source", sourceRanks],
  like: ["likeness", () => computed((i) => -likeness[i])],
  class: ["most of class", () => computed((i) => (seen[i] ? -classShare(i) : NaN))],
};

function computed(by) {
  const out = new Float32Array(frames.count);
  for (let i = 0; i < out.length; i++) out[i] = by(i);
  return out;
}

function classShare(i) {
  if (view.cls !== "") return shares[classIds.indexOf(+view.cls)]?.[i] ?? 0;
  let most = 0;
  for (const column of shares) if (column[i] > most) most = column[i];
  return most;
}

function sourceRanks() {
  const all = [...new Set(clipTables.flatMap((clips) => Array.from(clips.source)))].sort(), rank = new Map(all.map((source, k) => [source, k]));
  const ofClips = clipTables.map((clips) => Float32Array.from(clips.source, (source) => rank.get(source) ?? NaN));
  return computed((i) => ofClips[frames.dataset[i]][frames.clip[i]]);
}

/** Frames in the order of a column, equal ones as they were: three rounds over 11 bits each of what sorts as floats do. */
function sorted(kept, column) {
  const count = kept.length, values = new Float32Array(count);
  for (let k = 0; k < count; k++) values[k] = column[kept[k]] + 0; // no −0
  let keys = new Uint32Array(values.buffer), list = Uint32Array.from(kept);
  for (let k = 0; k < count; k++) {
    const bits = keys[k];
    keys[k] = values[k] !== values[k] ? 0xffffffff : bits & 0x80000000 ? ~bits : bits | 0x80000000;
  }
  let nextKeys = new Uint32Array(count), next = new Uint32Array(count);
  for (const shift of [0, 11, 22]) { // keys move with their frames: reading them from where they lay costs more
    const starts = new Uint32Array(2049);
    for (let k = 0; k < count; k++) starts[((keys[k] >>> shift) & 2047) + 1]++;
    for (let k = 0; k < 2048; k++) starts[k + 1] += starts[k];
    for (let k = 0; k < count; k++) {
      const at = starts[(keys[k] >>> shift) & 2047]++;
      nextKeys[at] = keys[k];
      next[at] = list[k];
    }
    [keys, nextKeys, list, next] = [nextKeys, keys, next, list];
  }
  return list;
}

/** By dataset, which clips come from a source that has the text in it. */
function clipsFound(text) {
  return clipTables.map((clips) => {
    const out = new Uint8Array(clips.start.length);
    for (let k = 0; k < out.length; k++) out[k] = clips.source[k] !== undefined && clips.source[k].toLowerCase().includes(text) ? 1 : 0;
    return out;
  });
}

/** Which frames are shown, in which order. */
function arrange() {
  const kept = new Uint32Array(frames.count), search = view.search.toLowerCase();
  const dataset = view.dataset === "" ? -1 : +view.dataset, cls = view.cls === "" ? null : shares[classIds.indexOf(+view.cls)];
  const kind = view.kind ? clipTables.map((clips) => clips.kinds.indexOf(view.kind)) : null, found = search ? clipsFound(search) : null;
  const ranges = [...view.ranges].filter(([name]) => figureNumber.has(name)).map(([name, [low, high]]) => [figures[figureNumber.get(name)], low, high]);
  const wantOut = view.ticked === "yes", asked = view.ticked === "yes" || view.ticked === "no", tagged = view.tag ? tags.get(view.tag) ?? new Set() : null;
  const none = excluded.size === 0;
  let count = 0;
  outer: for (let i = 0; i < frames.count; i++) {
    const d = frames.dataset[i];
    if (dataset >= 0 && d !== dataset) continue;
    if (kind && clipTables[d].kind[frames.clip[i]] !== kind[d]) continue;
    if (cls !== null && !(cls && cls[i] > 0)) continue;
    if (asked && (none ? wantOut : excluded.has(i) !== wantOut)) continue;
    if (tagged && !tagged.has(i)) continue;
    if (chosen && !chosen[i]) continue;
    if (found && !found[d][frames.clip[i]]) continue;
    for (const [column, low, high] of ranges) if (!(column[i] >= low && column[i] <= high)) continue outer;
    kept[count++] = i;
  }
  const by = SORTS[view.sort][1];
  order = by ? sorted(kept.subarray(0, count), by()) : kept.slice(0, count);
  cursor = Math.max(0, Math.min(cursor, order.length - 1));
  for (const tile of tiles.values()) tile.remove();
  tiles.clear();
  draw();
  keepAddress();
  if (document.getElementById("mapped").open) drawMap();
}

function measureGrid() {
  const width = grid.clientWidth;
  columns = Math.max(1, Math.floor((width + GAP) / (view.tile + GAP)));
  tileSize = Math.floor((width - (columns - 1) * GAP) / columns);
}

/** Make the tiles of the rows in view, and drop all others. */
function draw() {
  measureGrid();
  const pitch = tileSize + CAPTION + GAP, rows = Math.ceil(order.length / columns), height = Math.min(rows * pitch, MOST_HEIGHT);
  grid.style.height = Math.max(height, 40) + "px";
  const top = -grid.getBoundingClientRect().top, shift = shiftAt(top, rows * pitch, height);
  const first = Math.max(0, Math.floor((top + shift) / pitch) - MARGIN_ROWS);
  const last = Math.min(rows - 1, Math.floor((top + shift + innerHeight) / pitch) + MARGIN_ROWS);
  const spare = []; // what has left the view is used for what enters it
  for (const [k, tile] of tiles) if (k < first * columns || k >= (last + 1) * columns) { spare.push(tile); tiles.delete(k); }
  const added = document.createDocumentFragment();
  for (let k = first * columns; k < Math.min(order.length, (last + 1) * columns); k++) {
    let tile = tiles.get(k);
    if (!tile) {
      tile = spare.pop() ?? added.appendChild(emptyTile());
      tiles.set(k, tile);
      setTile(tile, k);
    }
    const style = `width:${tileSize}px;height:${tileSize + CAPTION}px;transform:translate(${(k % columns) * (tileSize + GAP)}px,${Math.floor(k / columns) * pitch - shift}px)`;
    if (tile.placed !== style) tile.style.cssText = tile.placed = style;
  }
  for (const tile of spare) tile.remove();
  if (added.childNodes.length) grid.append(added);
  document.getElementById("shown").textContent = shownText();
  if (report.live) { clearTimeout(quiet); quiet = setTimeout(fill, QUIET_MS); } else fill(); // what flies by is not asked for
}

/** How far the rows are ahead of the scroll bar: nothing, unless they are longer than an element may be. */
function shiftAt(top, whole, height) {
  if (whole <= height) return 0;
  return (Math.max(0, Math.min(top, height - innerHeight)) * (whole - innerHeight)) / (height - innerHeight) - Math.max(0, Math.min(top, height - innerHeight));
}

function shownText() {
  const total = report.datasets.reduce((sum, d) => sum + d.figures.rows, 0);
  const all = frames.count === total ? "" : ` · a sample of ${number(frames.count)} of ${number(total)} frames, spread evenly over the clips`;
  const skipped = report.datasets.reduce((sum, d) => sum + (d.skipped || 0), 0);
  return `${number(order.length)} of ${number(frames.count)}${all}${skipped ? ` · ${count(skipped, "frame")} of the sample can't be read` : ""}`;
}

function redraw() {
  if (!drawAgain) drawAgain = requestAnimationFrame(() => { drawAgain = 0; draw(); });
}

function emptyTile() {
  return el("div", { class: "tile", role: "option" },
    el("div", { class: "picture" }),
    el("button", { class: "tick", tabindex: -1, title: "Leave this frame out of training (x)", "aria-label": "Exclude" }, "✕"),
    el("div", { class: "caption" }, el("span", { class: "name" }), el("span", { class: "score" })));
}

/** Let a tile stand for the frame in place k, without its pictures yet. */
function setTile(tile, k) {
  const i = order[k], box = tile.firstChild;
  tile.id = `tile${k}`;
  tile.dataset.frame = i;
  if (box.firstChild) box.replaceChildren();
  box.className = "picture";
  delete box.dataset.lacks;
  nameTile(tile, i);
  tile.lastChild.lastChild.textContent = scoreOf(i);
  mark(tile, k);
}

// Clips whose last names are the same go by as much of their sources as tells them apart, and by their number if nothing does.
const MOST_APART = 20000; // clips; beyond, a caption is the last name, and the source stands in the tile's title
function captionOf(i) {
  const clips = clipsOf(i), source = clips.source[frames.clip[i]];
  if (source === undefined) return "…";
  if (clips.source.length > MOST_APART) return short(source);
  clips.named ??= tellApart(Array.from(clips.source, (known) => known ?? ""));
  return clips.named[frames.clip[i]];
}
const nameOf = (i) => `${captionOf(i)} · ${numberInClip(i)}`;

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
  if (view.sort === "odd") return oddScore[i] === oddScore[i] ? `${oddScore[i].toFixed(1)} σ` : "…";
  if (view.sort === "class") return seen[i] ? percent(classShare(i), 0) : "…";
  const c = confidence(i, view.sort === "least" || view.sort === "most" ? view.label : "");
  return c === c ? c.toFixed(2) : seen[i] ? "" : "…";
}

function mark(tile, k) {
  const i = order[k];
  tile.className = `tile${excluded.has(i) ? " excluded" : ""}${k === cursor ? " cursor" : ""}${two ? ` d${frames.dataset[i]}` : ""}`;
  tile.setAttribute("aria-selected", excluded.has(i));
  const words = tags.size ? tagsOf(i).join(", ") : "";
  if (words) tile.dataset.tags = words; else delete tile.dataset.tags;
}

/** Set the pictures of the tiles in view, and their layers. */
function fill() {
  const wanted = ["image", ...view.layers], unnamed = new Map();
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
    const trust = view.least > 0 ? confidence(i, view.label) : NaN;
    tile.classList.toggle("faded", trust < view.least);
    if (clipsOf(i).source[frames.clip[i]] === undefined) unnamed.set(`${frames.dataset[i]}/${shardOf(i)}`, [frames.dataset[i], shardOf(i)]);
    else if (tile.dataset.named !== nameOf(i)) nameTile(tile, i);
    if (!hasField(i, "image")) box.classList.add("blank");
  }
  if (unnamed.size) Promise.all([...unnamed.values()].map((where) => sourcesAround(...where))).then((news) => { if (news.some(Boolean)) fill(); });
}

/** Set a tile's caption, once its source is known. */
function nameTile(tile, i) {
  const called = nameOf(i), caption = tile.lastChild;
  tile.dataset.named = called;
  tile.setAttribute("aria-label", called);
  caption.firstChild.textContent = called;
  caption.title = sourceOf(i);
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
  const pitch = tileSize + CAPTION + GAP, rows = Math.ceil(order.length / columns), height = Math.min(rows * pitch, MOST_HEIGHT);
  const above = grid.getBoundingClientRect().top;
  let y = Math.floor(cursor / columns) * pitch + above;
  if (rows * pitch > height) y = (Math.floor(cursor / columns) * pitch * (height - innerHeight)) / (rows * pitch - innerHeight) + above;
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
  else if (event.key === "t" && order.length && report.live) askTag([order[cursor]]);
  else if (event.key.toLowerCase() === "x" && order.length) exclude(order[cursor], event.shiftKey);
  else return;
  event.preventDefault();
});
addEventListener("scroll", redraw, { passive: true });
new ResizeObserver(redraw).observe(grid);
