"use strict";
// The sections of the page, from top to bottom, and what keeps them up to date.

/** Replace what an element holds; null stands for nothing. */
const put = (parent, ...children) => parent.replaceChildren(...children.flat().filter((child) => child !== null));

const two = report.datasets.length > 1;
const body = (id) => document.querySelector(`#${id} .body`);
const jobs = { survey: [], measure: [], verify: [], figures: [] }; // by dataset, as the server tells
if (!report.live)
  for (const d of report.datasets) {
    jobs.measure.push(d.measure);
    for (const [job, name] of [["survey", "survey"], ["verify", "verified"]]) jobs[job].push({ state: d[name] ? "done" : "idle", result: d[name] });
  }
const swatch = (d) => (two ? el("span", { class: `swatch d${d}` }) : null);
const table = (head, rows, attributes = {}) =>
  el("div", { class: "wide" }, el("table", attributes, el("thead", {}, el("tr", {}, head.map((name) => el("th", typeof name === "string" ? {} : name, typeof name === "string" ? name : name.text)))), el("tbody", {}, rows)));
const cell = (...content) => el("td", {}, ...content);
const num = (...content) => el("td", { class: "num" }, ...content);

// --- what is in here ------------------------------------------------------------------------------------------

function showContents() {
  const title = report.datasets.map((d) => d.name);
  document.getElementById("title").replaceChildren(...title.flatMap((name, d) => [d ? " beside " : null, swatch(d), name]).filter(Boolean));
  document.getElementById("summary").replaceChildren(...report.datasets.map((d, k) => {
    const f = d.figures;
    const facts = [[number(f.rows), f.rows === 1 ? "frame" : "frames"], [number(clipCount(d)), clipCount(d) === 1 ? "clip" : "clips"], [number(f.shards), f.shards === 1 ? "shard" : "shards"], [size(f.bytes), "on disk"], [String(d.fields.filter((x) => x.label).length), "labels"], [sizesOf(d), "px"]];
    return el("div", { class: "facts" }, two ? el("b", {}, swatch(k), d.name, d.domains.length ? ` (${d.domains.join(", ")})` : "") : null,
      ...facts.map(([value, name]) => el("span", { class: "fact" }, el("b", {}, value), " ", name)));
  }));
  const sources = report.datasets.flatMap((d, k) => Object.entries(d.figures.sources).map(([kind, n]) =>
    el("tr", {}, cell(swatch(k), kind), cell(kind === "render" ? "synthetic" : "real"), num(number(n.clips)), num(number(n.frames)))));
  const about = report.datasets.flatMap((d, k) => Object.entries({ dataset: d.figures.dataset, ...d.figures.attributes }).map(([name, value]) =>
    el("tr", {}, cell(swatch(k), name), cell(typeof value === "string" ? value : JSON.stringify(value)))));
  const empty = report.datasets.filter((d) => !d.figures.rows);
  body("contents").replaceChildren(
    ...empty.map((d) => el("p", { class: "note" }, `${d.name} holds no frames yet: label or render into it, then look again.`)),
    el("div", { class: "columns" },
      table(["source", "domain", { text: "clips", class: "num" }, { text: "frames", class: "num" }], sources),
      table(["attribute", "value"], about)));
}

const clipCount = (d) => Object.values(d.figures.sources).reduce((sum, n) => sum + n.clips, 0);

function sizesOf(d) {
  const sizes = new Map();
  for (const s of d.sizes) sizes.set(`${s[1]} × ${s[0]}`, 1);
  const names = [...sizes.keys()];
  return names.length > 2 ? `${names.length} sizes, ${names[0]} …` : names.join(" and ") || "no";
}

// --- is it whole ----------------------------------------------------------------------------------------------

function showHealth() {
  const parts = report.datasets.map((d, k) => {
    const f = d.figures, job = jobs.verify[k] || { state: "idle" };
    const lines = [];
    lines.push(state(f.corrupt.length ? "bad" : "good", f.corrupt.length
      ? `${f.corrupt.length} of ${count(f.shards + f.corrupt.length, "shard")} can't be read`
      : f.shards === 1 ? "the record of its shard is whole and matches its checksum" : `the records of all ${number(f.shards)} shards are whole and match their checksums`));
    lines.push(...f.corrupt.slice(0, 50).map((text) => el("p", { class: "detail" }, text)));
    if (job.state === "done") {
      const v = job.result;
      lines.push(state(v.count ? "bad" : "good", v.count ? `verify: ${count(v.count, "problem")}` : `verify: every byte of ${count(v.shards, "shard")} is as written and keeps the contract`
        + (v.residual === null ? "" : `; renders meet their own flow within ${v.residual.toFixed(4)} px (p99)`)));
      lines.push(...v.problems.map((text) => el("p", { class: "detail" }, text)));
    } else if (job.state === "running") lines.push(state("wait", "verify: reading everything again …"));
    else if (job.state === "failed") lines.push(state("bad", `verify: ${job.error}`));
    else lines.push(state("idle", "pixels have not been read again: ", report.live ? startButton("verify", k, "verify now") : "make this page with --verify, or run freelabels verify"));
    const broken = jobs.survey[k]?.result?.unreadable || [];
    if (broken.length) lines.push(state("bad", `frames of a sample can't be read (freelabels verify names all of them)`), ...broken.map((text) => el("p", { class: "detail" }, text)));
    lines.push(state(f.failed ? "bad" : "good", f.failed ? `${count(f.failed, "shard")} failed (failures.jsonl)` : "no shard failed"));
    if (d.failures.length) lines.push(logTable(["shard", "error", "sources"], d.failures));
    lines.push(state(f.refused ? "warn" : "good", f.refused ? `${count(f.refused, "source")} refused (rejected.jsonl)` : "no source was refused"));
    if (d.refused.length) lines.push(logTable(["uri", "reason"], d.refused));
    if (d.listed.length) lines.push(state("idle", `${count(d.listed.length, "frame")} excluded from training (exclusions.json)`));
    return el("div", {}, two ? el("h3", {}, swatch(k), d.name) : null, ...lines);
  });
  body("health").replaceChildren(el("div", { class: "columns" }, parts));
}

const MARKS = { good: "✓", bad: "✗", warn: "!", wait: "…", idle: "·" };
const state = (kind, ...content) => el("p", { class: `state ${kind}` }, el("span", { class: "mark" }, MARKS[kind]), ...content);

function logTable(names, entries) {
  const rows = entries.map((entry) => el("tr", {}, names.map((name) => cell(Array.isArray(entry[name]) ? entry[name].join(", ") : String(entry[name] ?? entry.line ?? "")))));
  return el("details", {}, el("summary", {}, count(entries.length, "line")), table(names, rows));
}

function startButton(job, k, text) {
  return el("button", { onclick: async (event) => {
    event.target.disabled = true;
    await ask(`/jobs/${job}/${k}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" }).catch((error) => say(error.message));
    poll();
  } }, text);
}

// --- are the labels good ------------------------------------------------------------------------------------

function showLabels() {
  const byName = report.datasets.map((d) => new Map(d.fields.map((field) => [field.name, field])));
  const names = [...fieldOf.keys()];
  const rowOf = (name) => {
    const spec = fieldOf.get(name), each = byName.map((fields) => fields.get(name));
    const parts = (of, marked) => el("div", { class: "stack" }, each.map((field, d) => (field || two ? el("div", {}, marked ? swatch(d) : null, field ? of(field) : "–") : null)));
    const counted = each.some((field) => field?.counts);
    return el("tr", { class: spec.known ? "" : "unknown" },
      el("th", { scope: "row", title: spec.meaning }, name, el("small", {}, spec.known ? [spec.unit, spec.frame !== "image" ? spec.frame : ""].filter(Boolean).join(", ") : "unknown to this version")),
      num(parts((field) => number(field.rows), true)), num(parts((field) => size(field.bytes))),
      num(parts((field) => (field.coverage === undefined ? "" : percent(field.coverage)))),
      num(parts((field) => (field.confidence === undefined ? "" : field.confidence.toFixed(2)))),
      cell(histogram(each.map((field) => (field?.confidence_histogram ? { counts: field.confidence_histogram, low: 0, high: 1 } : null)), { label: `confidence of ${name}`, pick: picker(name + " confidence") })),
      cell(counted ? el("div", { class: "stack" }, each.map((field) => (field?.counts ? classBars(field.counts, field.colours) : null)))
        : spec.label ? histogram(each.map((field) => (field?.histogram ? { counts: field.histogram, low: field.range[0], high: field.range[1] } : null)), { label: `values of ${name}`, unit: spec.unit, pick: picker(name + " mean") }) : ""),
      two ? num(report.gaps[name] === undefined ? "" : report.gaps[name].toFixed(2)) : null,
      cell(parts((field) => Object.keys(field.made_by).join(", "))));
  };
  const head = ["field", { text: "frames", class: "num" }, { text: "size", class: "num" }, { text: "coverage", class: "num" }, { text: "conf.", class: "num" }, "confidence", "values", ...(two ? [{ text: "gap", class: "num", title: "largest difference of the cumulated shares: 0 same, 1 apart" }] : []), "made by"];
  const [main, others] = [true, false].map((is) => names.filter((name) => fieldOf.get(name).label === is || (is && !fieldOf.get(name).known)));
  const rest = others.filter((name) => fieldOf.get(name).known);
  put(body("labels"), table(head, main.map(rowOf), { class: "fields" }),
    rest.length ? el("details", {}, el("summary", {}, `${rest.length} more columns: ${rest.join(", ")}`), table(head, rest.map(rowOf), { class: "fields" })) : null,
    showSurvey());
}

/** What a click into a histogram does: frames whose own mean lies there are shown; null without such a figure. */
const picker = (name) => (figureNumber.has(name) ? (low, high, more) => {
  narrow(name, low, high, more);
  document.getElementById("frames").scrollIntoView();
} : null);

function showSurvey() {
  const surveys = report.datasets.map((_, k) => jobs.survey[k]?.result || null);
  const waiting = jobs.survey.filter((job) => job.state === "running").length || (report.live && !jobs.survey.length);
  const failed = jobs.survey.filter((job) => job.state === "failed").map((job) => state("bad", job.error));
  if (!surveys.some(Boolean)) return el("div", {}, ...failed, waiting ? state("wait", "looking at a sample of the pixels …") : null);
  const names = [...new Map(surveys.flatMap((s) => (s ? s.agreements : [])).map((a) => [a.name, a])).values()];
  const rows = names.map((check) => el("tr", {},
    el("th", { scope: "row", title: check.meaning }, check.name, el("small", {}, check.meaning)),
    ...surveys.flatMap((s) => {
      const found = s?.agreements.find((a) => a.name === check.name);
      return found ? [cell(scaleBar(found.value, found.unit ? 0 : found.best, found.unit ? 45 : found.chance), el("span", { class: "value" }, found.unit ? `${found.value.toFixed(1)}${found.unit}` : found.value.toFixed(2))), num(String(found.clips))] : [cell("–"), num("")];
    }),
    num(check.chance === null ? "–" : String(check.chance)), num(`${check.best}${check.unit}`)));
  const head = ["do fields agree", ...report.datasets.flatMap((d, k) => [two ? { text: d.name, class: `of d${k}` } : "agreement", { text: "clips", class: "num" }]), { text: "chance", class: "num" }, { text: "best", class: "num" }];
  const images = ["brightness", "saturation", "local contrast"].filter((name) => surveys.some((s) => s?.images[name])).map((name) =>
    el("figure", { class: "stat" }, histogram(surveys.map((s) => s?.images[name] || null), { width: 200, height: 44, label: name }),
      el("figcaption", {}, name, two && surveys[1]?.images[name]?.gap !== null && surveys[1]?.images[name] ? ` · gap ${surveys[1].images[name].gap.toFixed(2)}` : "")));
  return el("div", {}, ...failed,
    names.length ? table(head, rows, { class: "checks" }) : null,
    images.length ? el("h3", {}, "Images") : null, el("div", { class: "stats" }, images),
    el("p", { class: "dim" }, surveys.map((s, k) => (s ? `${two ? report.datasets[k].name + ": " : ""}${count(s.frames, "frame")} of ${count(s.clips, "clip")} were read for these` : "")).filter(Boolean).join("; ") + "."),
    two ? legend() : null);
}

const legend = () => el("p", { class: "dim" }, report.datasets.flatMap((d, k) => [swatch(k), d.name, " · "]), "gap: the largest difference of the cumulated shares, 0 the same, 1 apart. Disparity has no common scale and ids have no order, so they have none.");

// --- against exact truth --------------------------------------------------------------------------------------

function showTruth() {
  const parts = report.datasets.map((d, k) => {
    const job = jobs.measure[k] || { state: "idle" };
    const head = two ? el("h3", {}, swatch(k), d.name) : null;
    if (!d.measurable) return el("div", {}, head, state("idle", "holds no renders with exact truth, so detectors can't be measured on it; put renders beside it with --beside"));
    if (job.state === "running") return el("div", {}, head, state("wait", "detectors are at work on rendered frames …"));
    if (job.state === "failed") return el("div", {}, head, state("bad", job.error));
    if (job.state !== "done") return el("div", {}, head, state("idle", "detectors have not been measured on these renders: ", report.live ? startButton("measure", k, "measure now") : "make this page with --measured-clips above 0"));
    const some = job.result.filter((m) => m.labels), none = job.result.filter((m) => !m.labels);
    return el("div", {}, head,
      el("p", { class: "dim" }, "The same detectors that label real frames ran on rendered frames of this dataset, whose truth is exact. Dots on the diagonal: confidence tells the truth; below it: too sure. ECE: expected calibration error."),
      el("div", { class: "measured" }, some.map((m) => el("figure", { class: "measure" },
        reliability(m.bins, `reliability of ${m.label} by ${m.detector}`),
        el("figcaption", {}, el("b", {}, m.label), " ", m.detector,
          el("dl", {}, el("dt", {}, "wrong"), el("dd", {}, percent(m.wrong)), el("dt", {}, "of the surer half"), el("dd", {}, percent(m.wrong_trusted)), el("dt", {}, "ECE"), el("dd", {}, m.ece.toFixed(3))),
          el("small", {}, `right: ${m.meaning}`))))),
      none.length ? el("p", { class: "dim" }, `No labels on these clips by ${none.map((m) => `${m.detector} (${m.label})`).join(", ")}: too little parallax, or too few frames.`) : null);
  });
  body("truth").replaceChildren(...parts);
}

// --- frames ------------------------------------------------------------------------------------------------------

/** A choice; one made with a pointer gives the keys back to the grid, one made with keys keeps them. */
function choice(id, label, options, value, change) {
  let pointed = false;
  const changed = (event) => {
    change(event.target.value);
    if (pointed) grid.focus({ preventScroll: true });
  };
  return el("label", {}, label, " ", el("select", { id, onpointerdown: () => { pointed = true; }, onkeydown: () => { pointed = false; }, onchange: changed }, options.map(([key, text]) => el("option", { value: key, selected: key === value }, text))));
}

function showTools() {
  const kinds = [...new Set(report.datasets.flatMap((d) => Object.keys(d.figures.sources)))].sort();
  const classes = new Map(report.datasets.flatMap((d) => Object.entries(d.classes)));
  const set = (name) => (value) => { view[name] = value; if (value === "source") findSources(); arrange(); };
  const chips = labels.map((field, k) => el("button", { class: "chip", "data-field": field.name, "aria-pressed": view.layers.has(field.name), title: field.meaning, style: `--tint:${field.kind === "probability" ? field.tint : "var(--accent)"}`, onclick: () => toggleLayer(field.name) },
    k < 10 ? el("kbd", {}, String((k + 1) % 10)) : null, field.name));
  const back = () => grid.focus({ preventScroll: true }); // sliders too: their keys are the grid's
  document.getElementById("tools").replaceChildren(
    el("details", { class: "more", open: innerWidth > 860 }, el("summary", {}, "sort and filter"), el("div", { class: "line" },
      choice("sort", "sort", Object.entries(SORTS).filter(([key]) => (key !== "class" || classes.size) && (key !== "like" || view.sort === "like")).map(([key, [text]]) => [key, text]), view.sort, set("sort")),
      confidenceNames.length ? choice("label", "confidence of", [["", "all labels"], ...labels.filter((f) => figureNumber.has(f.name + " confidence")).map((f) => [f.name, f.name])], view.label, set("label")) : null,
      two ? choice("dataset", "dataset", [["", "both"], ...report.datasets.map((d, k) => [String(k), d.name])], view.dataset, set("dataset")) : null,
      kinds.length > 1 ? choice("kind", "source", [["", "all kinds"], ...kinds.map((kind) => [kind, kind])], view.kind, set("kind")) : null,
      classes.size ? choice("class", "class", [["", "any"], ...[...classes].map(([id, name]) => [id, name])], view.cls, set("cls")) : null,
      choice("ticked", "show", [["", "all"], ["no", "not excluded"], ["yes", "excluded"]], view.ticked, set("ticked")),
      el("input", { id: "search", type: "search", placeholder: "source …", value: view.search, "aria-label": "Find a source (/)", oninput: (event) => { set("search")(event.target.value); findSources(); } }),
      el("span", { class: "space" }), el("span", { id: "progress", class: "dim" }), el("span", { id: "status", role: "status" }),
      el("button", { id: "save", onclick: save }, ""))),
    el("div", { class: "line", id: "filters" }),
    el("div", { class: "line chips" }, el("span", { class: "dim" }, "lay over"), ...chips),
    el("div", { class: "line keys" }, el("span", { id: "legend", class: "dim" }), el("span", { class: "space" }),
      el("label", {}, "opacity ", el("input", { id: "opacity", type: "range", min: 0, max: 1, step: 0.05, value: view.opacity, oninput: (event) => { view.opacity = +event.target.value; fill(); }, onpointerup: back })),
      el("label", { title: "Size of the pictures" }, "size ", el("input", { id: "tile", type: "range", min: 80, max: 320, value: view.tile, oninput: (event) => { view.tile = +event.target.value; draw(); }, onpointerup: back }))));
  showUnsaved();
  showLegend();
  showFilters();
}

/** Ask for all sources, as far as they aren't known, and look again. */
let finding = null;
function findSources() {
  if (!report.live) return;
  finding ??= allSources().then(() => { if (view.search || view.sort === "source") arrange(); });
}

/** What the colours of the labels that are laid over mean, and of both datasets. */
function showLegend() {
  const parts = labels.filter((field) => view.layers.has(field.name)).map((field) =>
    el("span", { class: "of" }, el("b", {}, field.name), " ", field.kind === "probability"
      ? legendOf({ picture: null, swatches: [[field.tint, "as opaque as it is probable"]] }) : legendOf(field.legend)));
  document.getElementById("legend").replaceChildren(
    ...(two ? report.datasets.map((d, k) => el("span", { class: "of" }, swatch(k), d.name)) : []),
    ...parts, parts.length ? el("span", { class: "of" }, "clear where there is no label or no trust in it") : "");
}

const PEEKED = 12;
/** A few frames with one label on, at the top of the page: the way to all of them. */
function showPeek() {
  const strip = document.getElementById("peek");
  const shown = report.datasets.flatMap((_, d) => { // of each dataset as many, however much more of it there is
    const count = frames.dataset.lastIndexOf(d) + 1 - firstOf[d], many = Math.min(count, PEEKED / report.datasets.length);
    return Array.from({ length: many }, (_, k) => firstOf[d] + Math.floor(((k + 0.5) * count) / many));
  });
  strip.replaceChildren(el("div", { class: "strip" }, shown.map((i) => {
    const box = el("div", { class: "picture" });
    for (const name of ["image", ...view.layers]) {
      const source = name === "image" ? pictureOf(i, name, 192) : layerOf(i, name, 192);
      if (source) box.append(el("img", { alt: "", src: source, class: name === "image" ? "base" : "layer", onerror: broken }));
    }
    return el("button", { class: `peek d${frames.dataset[i]}`, title: nameOf(i), onclick: () => { moveTo(Math.max(0, order.indexOf(i))); openFrame(i); } }, box);
  })), frames.count ? el("a", { href: "#frames", class: "all" }, `all ${number(frames.count)} frames ↓`) : "");
}

function toggleLayer(name) {
  if (view.layers.has(name)) view.layers.delete(name); else view.layers.add(name);
  for (const chip of document.querySelectorAll(".chip")) chip.setAttribute("aria-pressed", view.layers.has(chip.dataset.field));
  showLegend();
  showPeek();
  fill();
  keepAddress();
  if (dialog.open) drawPanels();
}

function showUnsaved() {
  const button = document.getElementById("save"), count = unsaved();
  button.textContent = `${report.live ? "save" : "download"} exclusions (${excluded.size}${count ? ` · ${count} new` : ""})`;
  button.disabled = !count && (report.live || !excluded.size);
  button.classList.toggle("urgent", count > 0);
}

const say = (text) => { document.getElementById("status").textContent = text; };
const progress = (text) => { document.getElementById("progress").textContent = text; }; // never over what was said

async function save() {
  try { say(await saveExcluded()); } catch (error) { say(`not saved: ${error.message}`); }
  showUnsaved();
}

// --- what changes while the page is open -----------------------------------------------------------------

let polling = 0, figuresDone = false, mapping = false;
async function poll() {
  clearTimeout(polling);
  let told;
  try { told = await (await ask("/state")).json(); } catch { say("the server has ended"); return; }
  const before = JSON.stringify([jobs.survey, jobs.measure, jobs.verify]);
  Object.assign(jobs, told);
  if (JSON.stringify([jobs.survey, jobs.measure, jobs.verify]) !== before) { showHealth(); showLabels(); showTruth(); draw(); }
  await refreshFigures();
  await refreshPlaces();
  const busy = ["survey", "measure", "verify", "figures", "map"].some((name) => jobs[name].some((job) => job.state === "running"));
  const begun = [...jobs.figures, ...(report.map_by ? jobs.map : [])].every((job) => job.state !== "idle");
  if (busy || !begun) polling = setTimeout(poll, figuresDone ? 1000 : 1500);
}

const taken = report.datasets.map(() => 0), judged = report.datasets.map(() => 0);
async function refreshFigures() {
  const before = taken.join();
  for (let d = 0; d < report.datasets.length; d++) {
    const job = jobs.figures[d];
    if (!job) continue;
    while (taken[d] < job.done) {
      const rows = await takeFigures(d, taken[d]);
      if (!rows) break;
      taken[d] += rows;
    }
    if (jobs.odd[d] > judged[d]) { await takeOdd(d); judged[d] = jobs.odd[d]; }
  }
  const known = taken.reduce((a, b) => a + b, 0), done = jobs.figures.length > 0 && jobs.figures.every((job) => job.state === "done" || job.state === "failed");
  if (taken.join() !== before && !document.getElementById("filters").contains(document.activeElement)) showFilters();
  if (done !== figuresDone) {
    figuresDone = done;
    progress("");
    if (view.ranges.size || (view.sort !== "order" && view.sort !== "source")) arrange(); // what was unknown gets its place
    else fill();
  } else if (!done) {
    progress(`figures of ${number(known)} of ${number(frames.count)} frames known; sorting covers these`);
    fill();
  } else if (report.map_by && jobs.map.some((job) => job.state === "running")) {
    progress(`${report.map_by} has seen ${number(jobs.map.reduce((sum, job) => sum + job.done, 0))} of ${number(frames.count)} frames, for the map`);
    mapping = true;
  } else if (mapping) {
    mapping = false;
    progress("");
  }
  const failed = report.map_by && jobs.map.find((job) => job.state === "failed");
  if (failed) progress(`no map by ${report.map_by}: ${failed.error}`);
}

// --- keys, light and dark -------------------------------------------------------------------------------------

const KEYS = [["← ↑ → ↓", "move in the grid; in a frame: ← → along its clip, ↑ ↓ along the grid"], ["Enter", "open the frame"], ["Esc", "close it"], ["x, X", "exclude the frame, or its whole clip, from training, or take it back"], ["1 … 9, 0", "lay a label over the image"], ["c", "in a frame: confidences instead of values"], ["m", "in a frame: show the frames that look most like it"], ["s", "save exclusions"], ["t", "tag the frame, or take the tag away"], ["space", "in a frame: play its clip, with the labels that are on"], ["/", "find a source"], ["g", "go to the grid"], ["?", "these keys"]];
const help = document.getElementById("help");
help.append(el("h2", {}, "Keys"), el("table", {}, el("tbody", {}, KEYS.map(([key, text]) => el("tr", {}, el("th", {}, el("kbd", {}, key)), cell(text))))), el("p", { class: "dim" }, `Oddness is ${report.oddness}.`), el("button", { onclick: () => help.close() }, "close"));
document.getElementById("keys").addEventListener("click", () => help.showModal());
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement, dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName)) {
    if (event.key === "Escape" && event.target.id === "search") grid.focus();
    return;
  }
  if (/^[0-9]$/.test(event.key)) { const field = labels[(+event.key + 9) % 10]; if (field) toggleLayer(field.name); }
  else if (event.key === "s" && !document.getElementById("save").disabled) save();
  else if (event.key === "/" && !dialog.open) { document.getElementById("search").focus(); event.preventDefault(); }
  else if (event.key === "g" && !dialog.open) { document.getElementById("frames").scrollIntoView(); grid.focus({ preventScroll: true }); }
  else if (event.key === "?" && !help.open) help.showModal();
});
addEventListener("beforeunload", (event) => { if (unsaved()) event.preventDefault(); });

showContents();
showHealth();
showLabels();
showTruth();
showTools();
arrange();
showPeek();
followAddress();
if (report.live) {
  ask("/exclusions").then((answer) => answer.json()).then((rows) => { takeExcluded(rows, report.datasets.map(() => 0)); refreshMarks(); showUnsaved(); }).catch((error) => say(error.message));
  loadTags().catch((error) => say(error.message));
  poll();
}
document.documentElement.dataset.ready = "yes";
