"use strict";
// What narrows the grid: ranges of figures, tags; and what is done with it: an address that leads back, lists to take away.

const tags = new Map(); // word → numbers of frames
const BINS = 32;
let histogramOf = confidenceNames[0] || report.figure_names[0] || "";

/** Keep only frames whose figure lies in a range; with `more` the range grows to hold this one too. */
function narrow(name, low, high, more = false) {
  const had = more && view.ranges.get(name);
  view.ranges.set(name, had ? [Math.min(low, had[0]), Math.max(high, had[1])] : [low, high]);
  histogramOf = name;
  changed();
}

function changed() {
  showFilters();
  arrange();
}

/** How many frames have a figure within each of `BINS` bins. */
function countsOf(column) {
  let low = Infinity, high = -Infinity;
  for (let i = 0; i < column.length; i++) { const v = column[i]; if (v < low) low = v; if (v > high) high = v; }
  if (!(low <= high)) return null;
  if (low >= 0 && high <= 1) { low = 0; high = 1; }
  const counts = new Array(BINS).fill(0), scale = BINS / Math.max(high - low, 1e-9);
  for (let i = 0; i < column.length; i++) { const v = column[i]; if (v === v) counts[Math.min(BINS - 1, Math.floor((v - low) * scale))]++; }
  return { counts, low, high };
}

/** The histogram of one figure over all frames, whose bars are clicked, and the ranges in force. */
function showFilters() {
  const box = document.getElementById("filters");
  if (!report.figure_names.length) return;
  const found = countsOf(figures[figureNumber.get(histogramOf)]);
  const chips = [...view.ranges].map(([name, [low, high]]) => el("button", { class: "chip on", title: "Take this range away", onclick: () => { view.ranges.delete(name); changed(); } }, `${name} ${tidy(low)} … ${tidy(high)} ✕`));
  const list = view.ranges.get(histogramOf);
  box.replaceChildren(
    choice("figure", "range of", report.figure_names.map((name) => [name, name]), histogramOf, (value) => { histogramOf = value; showFilters(); }),
    found ? bars(found, list) : el("span", { class: "dim" }, "not known of any frame yet"), ...chips,
    chosen ? el("button", { class: "chip on", onclick: () => { chosen = null; map.line = null; if (view.sort === "like") { view.sort = "order"; showTools(); } changed(); } }, `${number(chosenCount())} chosen ✕`) : "",
    confidenceNames.length ? el("label", { title: "Labels trusted less are clear, and frames trusted less fade" }, "trust from ",
      el("input", { id: "least", type: "range", min: 0, max: 1, step: 0.05, value: view.least, oninput: (event) => { view.least = +event.target.value; fill(); }, onchange: (event) => { view.least = +event.target.value; relayer(); grid.focus({ preventScroll: true }); } })) : "",
    tags.size ? choice("tag", "tag", [["", "any"], ...[...tags.keys()].sort().map((word) => [word, `${word} (${tags.get(word).size})`])], view.tag, (value) => { view.tag = value; arrange(); }) : "",
    el("span", { class: "space" }),
    report.live ? el("button", { id: "tagall", title: "Tag all frames that are shown (t: the frame under the cursor)", onclick: () => askTag(Array.from(order)) }, "tag …") : "",
    el("button", { id: "take", title: "Download a list of the frames that are shown, for freelabels split --listed or train --loader.exclude", onclick: takeList }, "list"));
}

const chosenCount = () => chosen.reduce((sum, one) => sum + one, 0);

function bars({ counts, low, high }, range) {
  const most = Math.max(...counts), width = 6, height = 24, at = (k) => low + ((high - low) * k) / BINS;
  const chart = el("svg", { class: "chart pick", width: BINS * width, height, viewBox: `0 0 ${BINS * width} ${height}`, role: "group", "aria-label": `frames by ${histogramOf}` });
  counts.forEach((count, k) => {
    const inside = !range || (at(k + 1) > range[0] && at(k) < range[1]), tall = count ? Math.max(2, (Math.sqrt(count / most)) * height) : 0;
    const bar = el("g", { class: inside ? "in" : "", "data-bin": k, onclick: (event) => narrow(histogramOf, at(k), at(k + 1), event.shiftKey) },
      el("rect", { x: k * width, y: 0, width, height, class: "catch" }), el("rect", { x: k * width, y: height - tall, width: width - 1, height: tall }),
      el("title", {}, `${number(count)} frames, ${tidy(at(k))} to ${tidy(at(k + 1))}; click: these alone, with Shift: these too`));
    chart.append(bar);
  });
  return el("span", { class: "hist" }, chart, el("span", { class: "ends" }, el("i", {}, tidy(low)), el("i", {}, tidy(high))));
}

/** Ask for all layers anew. */
function relayer() {
  for (const layer of document.querySelectorAll(".tile .layer, #peek .layer")) layer.remove();
  showPeek();
  fill();
  if (dialog.open) drawPanels();
  keepAddress();
}

// --- the address: what is seen, so that a link shows the same ----------------------------------------------------

const KEPT = ["sort", "label", "dataset", "kind", "cls", "ticked", "search", "tile", "opacity", "least", "tag"];
const usual = Object.fromEntries(KEPT.map((name) => [name, view[name]])), usualLayers = [...view.layers].join();
let addressed = "", writing = 0;

function addressOf() {
  const told = Object.fromEntries(KEPT.filter((name) => view[name] !== usual[name]).map((name) => [name, view[name]]));
  if ([...view.layers].join() !== usualLayers) told.layers = [...view.layers];
  if (view.ranges.size) told.ranges = [...view.ranges];
  if (opened.i >= 0) told.frame = [frames.dataset[opened.i], shardOf(opened.i), frames.row[opened.i]];
  return Object.keys(told).length ? "#view=" + encodeURIComponent(JSON.stringify(told)) : "";
}

/** Put what is seen into the address; not at once, as browsers allow this some times a second. */
function keepAddress() {
  clearTimeout(writing);
  writing = setTimeout(() => {
    const next = addressOf();
    if (next === addressed) return;
    addressed = next;
    history.replaceState(null, "", next || location.pathname + location.search);
  }, 150);
}

/** Show what an address tells of; anything in it that isn't there is as if it were not told. */
function followAddress() {
  if (!location.hash.startsWith("#view=") || location.hash === addressed) return;
  let told;
  try { told = JSON.parse(decodeURIComponent(location.hash.slice(6))); } catch { return; }
  if (typeof told !== "object" || told === null) return;
  addressed = location.hash;
  for (const name of KEPT) view[name] = typeof told[name] === typeof usual[name] ? told[name] : usual[name];
  if (!(view.sort in SORTS) || view.sort === "like") view.sort = "order";
  if (Array.isArray(told.layers)) { view.layers.clear(); for (const name of told.layers) if (labels.some((field) => field.name === name)) view.layers.add(name); }
  view.ranges.clear();
  for (const [name, range] of Array.isArray(told.ranges) ? told.ranges : []) if (figureNumber.has(name) && Array.isArray(range)) view.ranges.set(name, range.map(Number));
  showTools();
  showPeek();
  const ready = view.search || view.sort === "source" ? allSources() : Promise.resolve();
  ready.then(() => { arrange(); document.getElementById("frames").scrollIntoView(); });
  const i = Array.isArray(told.frame) ? frameAt(...told.frame.map(Number)) : -1;
  if (i >= 0) openFrame(i);
}
addEventListener("hashchange", followAddress);

// --- tags and lists ------------------------------------------------------------------------------------------------

const post = (path, body) => ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
const rowsOf = (list, d) => list.filter((i) => frames.dataset[i] === d).map((i) => [numberOf(i), frames.row[i]]);

async function loadTags() {
  const told = await (await ask("/tags")).json();
  tags.clear();
  told.forEach((words, d) => Object.entries(words).forEach(([word, rows]) => {
    if (!tags.has(word)) tags.set(word, new Set());
    for (const [shard, row] of rows) { const i = frameAt(d, shard, row); if (i >= 0) tags.get(word).add(i); }
  }));
  showFilters();
  refreshMarks();
}

/** Give frames a tag, or take it from them if all have it; saved at once, in tags.json beside the shards. */
async function tag(list, word) {
  const had = tags.get(word), remove = list.length > 0 && list.every((i) => had?.has(i));
  try {
    for (let d = 0; d < report.datasets.length; d++) {
      const rows = rowsOf(list, d);
      if (rows.length) await post(`/tags/${d}`, { tag: word, [remove ? "remove" : "add"]: rows });
    }
    say(`${remove ? "took" : "put"} ${word} ${remove ? "from" : "on"} ${count(list.length, "frame")}`);
  } catch (error) { say(`not tagged: ${error.message}`); }
  await loadTags();
}

function askTag(list) {
  const box = document.getElementById("ask"), input = el("input", { type: "text", maxlength: 60, list: "words", "aria-label": "Tag" });
  const done = (event) => { event.preventDefault(); box.close(); if (input.value.trim()) tag(list, input.value.trim()); };
  box.replaceChildren(el("form", { onsubmit: done }, el("label", {}, `tag of ${count(list.length, "frame")} `, input), el("datalist", { id: "words" }, [...tags.keys()].map((word) => el("option", { value: word }))), " ", el("button", {}, "put or take")));
  box.showModal();
  input.focus();
}

const tagsOf = (i) => [...tags].filter(([, list]) => list.has(i)).map(([word]) => word);

/** Download the frames that are shown as a list by what they come from. */
async function takeList() {
  try {
    for (let d = 0; d < report.datasets.length; d++) {
      const list = Array.from(order).filter((i) => frames.dataset[i] === d);
      if (!list.length) continue;
      const text = report.live ? await (await post(`/selection/${d}`, { frames: rowsOf(list, d) })).text()
        : JSON.stringify({ schema: 1, exclude: list.map((i) => report.frames[i].details.identity) }, null, 1) + "\n";
      const link = el("a", { href: URL.createObjectURL(new Blob([text], { type: "application/json" })), download: `selection${d ? d + 1 : ""}.json` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }
    say(`${count(order.length, "frame")} listed: freelabels split --listed takes their clips, train --loader.exclude leaves them out`);
  } catch (error) { say(`no list: ${error.message}`); }
}
