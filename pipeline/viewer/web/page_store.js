"use strict";
// What the page knows: the report, its frames by number, and where their pictures and values come from.

const report = JSON.parse(document.getElementById("report").textContent);

/** A DOM element: attributes (on… are listeners, null is left out), then children; text is never read as HTML. */
function el(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "rect", "line", "circle", "text", "g", "title"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || (value === false && !name.startsWith("aria-"))) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const number = (value) => value.toLocaleString("en-US");
const count = (n, what) => `${number(n)} ${what}${n === 1 ? "" : "s"}`;
const percent = (value, digits = 1) => (100 * value).toFixed(digits) + " %";
const size = (bytes) => (bytes < 1 << 30 ? (bytes / (1 << 20)).toFixed(1) + " MiB" : (bytes / 2 ** 30).toFixed(2) + " GiB");
const short = (source) => source.split(/[\\/]/).pop() || source;

// --- frames, as columns of numbers: a million objects would cost more than all the rest -------------------------

const bytesOf = (text) => {
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let k = 0; k < raw.length; k++) out[k] = raw.charCodeAt(k);
  return out;
};
const COLUMNS = { shard: Uint32Array, start: Uint16Array, stop: Uint16Array, kind: Uint8Array };

/** The clips of a dataset as columns; kind: which of kinds. source: of each, undefined until it is known. */
function clipColumns({ clips }) {
  if (clips.packed) {
    const out = Object.fromEntries(Object.entries(COLUMNS).map(([name, type]) => [name, new type(bytesOf(clips.packed[name]).buffer)]));
    return { ...out, kinds: clips.kinds, source: new Array(out.shard.length), at_once: clips.sources_at_once };
  }
  const kinds = [...new Set(clips.kind)];
  return { ...clips, kinds, kind: Uint8Array.from(clips.kind, (kind) => kinds.indexOf(kind)) };
}
const clipTables = report.datasets.map(clipColumns);

const frames = (() => {
  const list = report.frames || null;
  const count = list ? list.length : clipTables.reduce((sum, c) => sum + c.start.reduce((n, start, k) => n + c.stop[k] - start, 0), 0);
  const dataset = new Uint8Array(count), clip = new Uint32Array(count), row = new Uint16Array(count);
  let at = 0;
  if (list) {
    for (const frame of list) { dataset[at] = frame.dataset; clip[at] = frame.clip; row[at] = frame.row; at++; }
  } else {
    clipTables.forEach((clips, d) => {
      clips.first = new Uint32Array(clips.start.length); // number of each clip's first frame
      for (let k = 0; k < clips.start.length; k++) {
        clips.first[k] = at;
        for (let r = clips.start[k]; r < clips.stop[k]; r++) { dataset[at] = d; clip[at] = k; row[at] = r; at++; }
      }
    });
  }
  return { count, dataset, clip, row };
})();

const clipsOf = (i) => clipTables[frames.dataset[i]];
const shardOf = (i) => clipsOf(i).shard[frames.clip[i]];
const kindOf = (i) => clipsOf(i).kinds[clipsOf(i).kind[frames.clip[i]]];
const sourceOf = (i) => clipsOf(i).source[frames.clip[i]] ?? "…";
const numberOf = (i) => shardOf(i); // of the shard among all of its dataset
const datasetOf = (i) => report.datasets[frames.dataset[i]];
const numberInClip = (i) => frames.row[i] - clipsOf(i).start[frames.clip[i]];
const keyOf = (d, shard, row) => `${d}/${shard}/${row}`;
const listedKeys = new Map((report.frames || []).map((_, i) => [keyOf(frames.dataset[i], shardOf(i), frames.row[i]), i]));

/** The number of a frame here, -1 if it isn't. */
function frameAt(d, shard, row) {
  const clips = clipTables[d];
  if (report.frames || !clips) return listedKeys.get(keyOf(d, shard, row)) ?? -1;
  let low = 0, high = clips.shard.length;
  while (low < high) { const middle = (low + high) >> 1; if (clips.shard[middle] < shard) low = middle + 1; else high = middle; }
  for (; clips.shard[low] === shard; low++) if (clips.start[low] <= row && row < clips.stop[low]) return clips.first[low] + row - clips.start[low];
  return -1;
}

/** The frame `by` before or after this one in its clip, -1 if it isn't here. */
function neighbour(i, by) {
  const found = frameAt(frames.dataset[i], shardOf(i), frames.row[i] + by);
  return found >= 0 && frames.clip[found] === frames.clip[i] ? found : -1;
}

// --- sources of clips, which are asked for when somebody looks ---------------------------------------------------

const sourcesAsked = new Map(); // dataset/block → promise
/** Ask for the sources of the clips around a frame's shard; a promise that is true if something new came. */
function sourcesAround(d, shard) {
  const clips = clipTables[d];
  if (!clips.at_once) return Promise.resolve(false);
  const block = Math.floor(shard / clips.at_once), key = `${d}/${block}`;
  if (!sourcesAsked.has(key)) sourcesAsked.set(key, (async () => {
    const told = await (await ask(`/sources/${d}?first=${block * clips.at_once}`)).json();
    const begin = clips.shard.findIndex((number) => number >= block * clips.at_once);
    told.forEach((source, k) => { clips.source[begin + k] = source; });
    clips.named = null;
    return true;
  })().catch(() => { sourcesAsked.delete(key); return false; }));
  return sourcesAsked.get(key);
}

/** All sources, for finding and sorting by them; a promise. */
async function allSources() {
  for (let d = 0; d < clipTables.length; d++) {
    const clips = clipTables[d], last = clips.shard[clips.shard.length - 1] ?? -1;
    for (let shard = 0; clips.at_once && shard <= last; shard += clips.at_once) await sourcesAround(d, shard);
  }
}

const fieldOf = new Map(); // name → what is said of the field by the first dataset that has it
for (const dataset of report.datasets) for (const field of dataset.fields) if (!fieldOf.has(field.name)) fieldOf.set(field.name, field);
const labels = [...fieldOf.values()].filter((field) => field.label && field.drawable && field.kind !== "bits");
const columnSets = report.datasets.map((d) => d.column_sets.map((names) => new Set(names)));
const hasField = (i, name) => columnSets[frames.dataset[i]][datasetOf(i).shard_columns[shardOf(i)]].has(name);

// --- figures of frames, a column of numbers each, NaN where unknown ----------------------------------------------

const figureNumber = new Map(report.figure_names.map((name, k) => [name, k]));
const columnOf = () => new Float32Array(frames.count).fill(NaN);
const figures = report.figure_names.map(columnOf);
const classIds = report.class_ids ?? [...new Set((report.frames || []).flatMap((frame) => Object.keys(frame.figures.classes).map(Number)))];
const shares = classIds.map(() => new Float32Array(frames.count));
const oddScore = columnOf(), oddFigure = new Int16Array(frames.count).fill(-1);
const firstOf = report.datasets.map((_, d) => Math.max(0, frames.dataset.indexOf(d)));
const seen = new Uint8Array(frames.count); // whether its figures are known
if (report.frames) report.frames.forEach((frame, i) => {
  frame.figures.values.forEach((value, k) => { figures[k][i] = value ?? NaN; });
  for (const [id, share] of Object.entries(frame.figures.classes)) shares[classIds.indexOf(+id)][i] = share;
  [oddScore[i], oddFigure[i]] = frame.odd;
  seen[i] = 1;
});

/** Take up what a server knows of frames from number `first` on of a dataset; how many frames that were. */
async function takeFigures(d, first) {
  const answer = await ask(`/figures/${d}?first=${first}`), { rows } = JSON.parse(answer.headers.get("X-Array"));
  const data = await answer.arrayBuffer(), at = firstOf[d] + first;
  figures.forEach((column, k) => column.set(new Float32Array(data, 4 * rows * k, rows), at));
  const behind = 4 * rows * figures.length;
  shares.forEach((column, k) => {
    const part = new Uint16Array(data, behind + 2 * rows * k, rows);
    for (let n = 0; n < rows; n++) column[at + n] = part[n] / 65535;
  });
  seen.fill(1, at, at + rows);
  return rows;
}

async function takeOdd(d) {
  const data = await (await ask(`/odd/${d}`)).arrayBuffer(), rows = data.byteLength / 6;
  oddScore.set(new Float32Array(data, 0, rows), firstOf[d]);
  oddFigure.set(new Int16Array(data, 4 * rows, rows), firstOf[d]);
}

/** A figure of a frame; NaN where it has none, or none is known yet. */
function figure(i, name) {
  const k = figureNumber.get(name);
  return k === undefined ? NaN : figures[k][i];
}

const confidenceNames = labels.map((field) => field.name + " confidence").filter((name) => figureNumber.has(name));
const confidenceColumns = confidenceNames.map((name) => figures[figureNumber.get(name)]);

/** Mean confidence of a frame in one label, or over all its labels; NaN where there is none. */
function confidence(i, label = "") {
  if (label) return figure(i, label + " confidence");
  let sum = 0, count = 0;
  for (const column of confidenceColumns) if (column[i] === column[i]) { sum += column[i]; count++; }
  return count ? sum / count : NaN;
}

// --- pictures, layers, values, details ------------------------------------------------------------------------

const address = (what, i, field, query = "") =>
  `/${what}/${frames.dataset[i]}/${numberOf(i)}/${frames.row[i]}${field ? "/" + encodeURIComponent(field) : ""}${query}`;
const embedded = (i, what, field) => {
  const data = report.frames[i][what][field];
  return data ? "data:image/webp;base64," + data : null;
};
const plain = (name) => ["image", "probability", "bits"].includes(fieldOf.get(name)?.kind);

/** The picture of a field; those that are not drawn plain are layers to be shown over slate. */
function pictureOf(i, name, side) {
  if (!hasField(i, name)) return null;
  const what = plain(name) ? "picture" : "layer";
  return report.live ? address(what, i, name, `?side=${side}`) : embedded(i, what + "s", name);
}

/** The layer of a label to be laid over the image. */
function layerOf(i, name, side) {
  if (!hasField(i, name)) return null;
  const least = Math.round(255 * view.least);
  return report.live ? address("layer", i, name, `?side=${side}${least ? `&least=${least}` : ""}`) : embedded(i, "layers", name);
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error || answer.statusText);
  return answer;
}

async function detailsOf(i) {
  return report.live ? (await ask(address("details", i))).json() : report.frames[i].details;
}

/** What made the columns of a frame's shard: [{columns, made_by}]. */
async function madeBy(i) {
  return report.live ? (await ask(`/made_by/${frames.dataset[i]}/${numberOf(i)}`)).json() : datasetOf(i).made_by[shardOf(i)];
}

const halves = (bytes) => {
  const words = new Uint16Array(bytes), out = new Float32Array(words.length);
  for (let k = 0; k < words.length; k++) {
    const sign = words[k] & 0x8000 ? -1 : 1, power = (words[k] >> 10) & 31, part = words[k] & 1023;
    out[k] = sign * (power === 0 ? part * 2 ** -24 : power === 31 ? (part ? NaN : Infinity) : (1 + part / 1024) * 2 ** (power - 15));
  }
  return out;
};
const ARRAYS = { uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array, float32: Float32Array, float64: Float64Array };

/** The stored values of a map: {data, shape, step}; every step-th pixel is there. null if it can't be had. */
async function valuesOf(i, name) {
  if (!report.live) {
    const stored = report.frames[i].values[name];
    if (!stored) return null;
    const packed = Uint8Array.from(atob(stored.data), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return arrayOf(await new Response(stream).arrayBuffer(), stored);
  }
  const answer = await ask(address("values", i, name));
  return arrayOf(await answer.arrayBuffer(), JSON.parse(answer.headers.get("X-Array")));
}

function arrayOf(bytes, { shape, dtype, step }) {
  const data = dtype === "float16" ? halves(bytes) : ARRAYS[dtype] ? new ARRAYS[dtype](bytes) : null;
  return data && { data, shape, step };
}

/** The stored numbers of a field at (x, y), given as shares of width and height. */
function valueAt({ data, shape }, x, y) {
  const row = Math.min(shape[0] - 1, Math.floor(y * shape[0])), column = Math.min(shape[1] - 1, Math.floor(x * shape[1]));
  const channels = shape[2] || 1, at = (row * shape[1] + column) * channels;
  return Array.from(data.slice(at, at + channels));
}

// --- exclusions ---------------------------------------------------------------------------------------------------

const excluded = new Set(), saved = new Set(); // numbers of frames
/** rows: by dataset [shard, row]; from: by dataset the number that its first shard has there. */
function takeExcluded(rows, from) {
  saved.clear();
  rows.forEach((pairs, d) => pairs.forEach(([shard, row]) => {
    const i = frameAt(d, shard - from[d], row);
    if (i >= 0) saved.add(i);
  }));
  excluded.clear();
  for (const i of saved) excluded.add(i);
}
takeExcluded(report.datasets.map((d) => d.excluded), report.datasets.map(() => 0));
const unsaved = () => [...excluded].filter((i) => !saved.has(i)).length + [...saved].filter((i) => !excluded.has(i)).length;

/** Save the exclusions: to the server, or as a file to be downloaded. Returns a sentence. */
async function saveExcluded() {
  const added = [...excluded].filter((i) => !saved.has(i)), taken = [...saved].filter((i) => !excluded.has(i));
  if (report.live) {
    for (let d = 0; d < report.datasets.length; d++) {
      const rows = (list) => list.filter((i) => frames.dataset[i] === d).map((i) => [numberOf(i), frames.row[i]]);
      const change = { exclude: rows(added), keep: rows(taken) };
      if (!change.exclude.length && !change.keep.length) continue;
      await ask(`/exclusions/${d}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(change) });
    }
  } else {
    const identity = (i) => report.frames[i].details.identity;
    const key = (frame) => JSON.stringify([frame.clip, frame.frame]);
    const list = new Map(report.datasets.flatMap((d) => d.listed).map((frame) => [key(frame), frame]));
    for (const i of taken) list.delete(key(identity(i)));
    for (const i of added) list.set(key(identity(i)), identity(i));
    const text = JSON.stringify({ schema: 1, exclude: [...list.values()] }, null, 1) + "\n";
    const link = el("a", { href: URL.createObjectURL(new Blob([text], { type: "application/json" })), download: "exclusions.json" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  saved.clear();
  for (const i of excluded) saved.add(i);
  return report.live
    ? "saved in exclusions.json beside the shards; training leaves these frames out"
    : "downloaded; put exclusions.json beside the shards, or train with --loader.exclude exclusions.json";
}
