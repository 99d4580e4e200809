"use strict";
// One frame, large: every field, the stored values under the pointer, its neighbours and where it comes from.

const dialog = document.getElementById("frame");
const opened = { i: -1, main: "image", values: new Map(), details: null, at: null, trust: false };

async function openFrame(i) {
  stopPlaying();
  opened.i = i;
  keepAddress();
  opened.values = new Map();
  opened.details = null;
  if (!hasField(i, opened.main)) opened.main = hasField(i, "image") ? "image" : shownFields(i)[0] || "image";
  const shell = [frameHead(i), el("div", { class: "inside" }, el("div", { class: "look" }, el("div", { class: "stage" }), el("div", { class: "panels" })), el("aside", {}, el("table", { class: "readout" }), el("div", { class: "about" })))];
  dialog.replaceChildren(...shell);
  if (!dialog.open) dialog.showModal();
  dialog.focus(); // what had it is gone, and keys go to what has it
  drawPanels();
  drawReadout();
  try {
    const [details, made] = await Promise.all([detailsOf(i), madeBy(i), ...mapsOf(i).map(async (name) => {
      const found = await valuesOf(i, name).catch(() => null);
      if (opened.i === i && found) opened.values.set(name, found);
    })]);
    if (opened.i !== i) return;
    opened.details = details;
    const head = dialog.querySelector("header h2"); // a link may open a frame whose clip's source was not asked for yet
    head.textContent = short(details.source);
    head.title = details.source;
    drawAbout(details, made);
  } catch (error) {
    if (opened.i === i) dialog.querySelector(".about").replaceChildren(el("p", { class: "bad" }, String(error.message)));
  }
  if (opened.i !== i) return;
  drawReadout();
  if (opened.trust) drawPanels();
}

const shownFields = (i) => [...fieldOf.values()].filter((f) => f.drawable && hasField(i, f.name)).map((f) => f.name);
const mapsOf = (i) => {
  const names = report.live
    ? shownFields(i).filter((name) => fieldOf.get(name).kind !== "bits").flatMap((name) => [name, name + "_confidence"]).filter((name) => hasField(i, name))
    : Object.keys(report.frames[i].values);
  return names;
};

function frameHead(i) {
  const clips = clipsOf(i), c = frames.clip[i], before = neighbour(i, -1), after = neighbour(i, 1);
  const at = order.indexOf(i);
  return el("header", {},
    el("button", { id: "before", disabled: before < 0, title: "Previous frame of the clip (←)", onclick: () => openFrame(before) }, "‹"),
    el("button", { id: "after", disabled: after < 0, title: "Next frame of the clip (→)", onclick: () => openFrame(after) }, "›"),
    clips.stop[c] - clips.start[c] > 1 ? el("button", { id: "play", "aria-pressed": false, title: "Play the clip (space)", onclick: play }, "▶") : null,
    el("h2", { title: sourceOf(i) }, short(sourceOf(i))),
    el("span", { class: "dim" }, `frame ${numberInClip(i) + 1} of ${clips.stop[c] - clips.start[c]} in its clip · ${kindOf(i)} · ${datasetOf(i).name}`),
    el("span", { class: "space" }),
    el("span", { class: "dim" }, at < 0 ? "" : `${number(at + 1)} of ${number(order.length)} (↑ ↓)`),
    report.live ? el("button", { id: "like", title: "Show the frames that look most like this one (m)", onclick: () => moreLike(i) }, "more like this") : null,
    el("button", { id: "trust", "aria-pressed": opened.trust, title: "Show confidences (c)", onclick: toggleTrust }, "confidence"),
    el("button", { id: "out", class: "tickbutton", "aria-pressed": excluded.has(i), title: "Leave this frame out of training (x)", onclick: () => { exclude(i); markOut(); } }, excluded.has(i) ? "✕ excluded" : "✕ exclude"),
    el("button", { id: "shut", title: "Close (Esc)", "aria-label": "Close", onclick: () => dialog.close() }, "✖"));
}

function markOut() {
  const button = dialog.querySelector("#out");
  button.setAttribute("aria-pressed", excluded.has(opened.i));
  button.textContent = excluded.has(opened.i) ? "✕ excluded" : "✕ exclude";
}

function toggleTrust() {
  opened.trust = !opened.trust;
  dialog.querySelector("#trust").setAttribute("aria-pressed", opened.trust);
  drawPanels();
}

/** The stage is as wide as lets all of the picture be seen. */
function fitted(event) {
  const { naturalWidth: w, naturalHeight: h } = event.target;
  if (w && h) dialog.style.setProperty("--aspect", w / h);
}

/** The chosen field large, with the layers that are on over the image; all fields small beside it. */
function drawPanels() {
  const i = opened.i, names = shownFields(i);
  const stage = panel(i, opened.main, 1024);
  if (opened.main === "image")
    for (const name of view.layers) {
      const source = layerOf(i, name, 1024);
      if (source) stage.querySelector(".box").append(el("img", { class: "layer", alt: name, src: source, style: `opacity:${view.opacity}`, onerror: broken }));
    }
  const key = opened.trust && opened.values.get(opened.main + "_confidence") ? report.confidence_legend : fieldOf.get(opened.main)?.legend;
  dialog.querySelector(".stage").replaceChildren(stage, el("div", { class: "dim" }, key ? legendOf(key) : null,
    opened.main === "image" ? [...view.layers].filter((name) => hasField(i, name)).map((name) => el("span", { class: "of" }, el("b", {}, name), " ",
      fieldOf.get(name).kind === "probability" ? legendOf({ picture: null, swatches: [[fieldOf.get(name).tint, "as opaque as it is probable"]] }) : legendOf(fieldOf.get(name).legend))) : null));
  dialog.querySelector(".panels").replaceChildren(...names.map((name) => {
    const small = panel(i, name, 384);
    small.classList.toggle("chosen", name === opened.main);
    small.addEventListener("click", () => { opened.main = name; drawPanels(); });
    return small;
  }));
  placeCross();
}

function panel(i, name, side) {
  const box = el("div", { class: "box" });
  const trust = opened.trust && opened.values.get(name + "_confidence");
  if (trust) box.append(trustPicture(trust));
  else {
    const source = pictureOf(i, name, side);
    if (source) box.append(el("img", { alt: name, src: source, draggable: "false", onload: fitted, onerror: broken, class: plain(name) ? "base" : "base layered" }));
    else box.classList.add("blank");
  }
  box.append(el("span", { class: "cross" }));
  box.addEventListener("pointermove", (event) => {
    const area = box.getBoundingClientRect();
    opened.at = [Math.min(0.999999, Math.max(0, (event.clientX - area.left) / area.width)), Math.min(0.999999, Math.max(0, (event.clientY - area.top) / area.height))];
    placeCross();
    drawReadout();
  });
  return el("figure", { class: "panel", "data-field": name }, box, el("figcaption", {}, name + (trust ? " · confidence" : "")));
}

// Cividis: as even to colour-blind eyes as to others. Source: Nuñez, Anderton, Renslow, PLOS ONE 13(7), 2018; 9 of its colours.
const CIVIDIS = [[0, 34, 78], [26, 56, 111], [67, 78, 108], [97, 101, 111], [125, 124, 120], [156, 148, 119], [190, 174, 108], [224, 201, 88], [254, 232, 56]];
const SLATE = [1, 3, 5].map((k) => parseInt(report.unknown.slice(k, k + 2), 16)).concat(255);
function trustPicture({ data, shape }) {
  const canvas = el("canvas", { width: shape[1], height: shape[0], class: "base", role: "img", "aria-label": "confidence" });
  const context = canvas.getContext("2d"), image = context.createImageData(shape[1], shape[0]);
  for (let k = 0; k < data.length; k++) {
    if (data[k] === 0) { image.data.set(SLATE, 4 * k); continue; } // 0: no label
    const at = (data[k] / 255) * 8, low = Math.min(7, Math.floor(at)), part = at - low;
    for (let c = 0; c < 3; c++) image.data[4 * k + c] = CIVIDIS[low][c] + part * (CIVIDIS[low + 1][c] - CIVIDIS[low][c]);
    image.data[4 * k + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function placeCross() {
  dialog.style.setProperty("--x", opened.at ? 100 * opened.at[0] + "%" : "-10%");
  dialog.style.setProperty("--y", opened.at ? 100 * opened.at[1] + "%" : "-10%");
}

/** The stored value of every field at the pointer. */
function drawReadout() {
  const i = opened.i, rows = [];
  let place = "point at a picture";
  for (const name of shownFields(i)) {
    const stored = opened.values.get(name), trust = opened.values.get(name + "_confidence"), spec = fieldOf.get(name);
    if (spec.kind === "bits") continue;
    let text = "", sure = "";
    if (stored && opened.at) {
      text = valueText(name, valueAt(stored, ...opened.at));
      if (trust) sure = (valueAt(trust, ...opened.at)[0] / 255).toFixed(2);
      const x = Math.floor(opened.at[0] * stored.shape[1]) * stored.step, y = Math.floor(opened.at[1] * stored.shape[0]) * stored.step;
      place = `row ${y}, column ${x}` + (stored.step > 1 ? ` (every ${stored.step}. pixel is in this file)` : "");
    }
    rows.push(el("tr", { "data-field": name }, el("th", {}, name), el("td", {}, text), el("td", { class: "sure" }, sure)));
  }
  dialog.querySelector(".readout").replaceChildren(el("caption", {}, place), el("thead", {}, el("tr", {}, el("th", {}, "field"), el("th", {}, "value"), el("th", {}, "conf."))), el("tbody", {}, rows));
}

function valueText(name, values) {
  const { kind, unit } = fieldOf.get(name), [v] = values;
  const ids = opened.details?.names?.[name] || {};
  const fixed = (value, digits = 2) => value.toFixed(digits).replace("-", "−");
  switch (kind) {
    case "image": return `rgb ${values.join(" ")}`;
    case "probability": return `${(v / 255).toFixed(3)}`;
    case "metric": return Number.isNaN(v) ? "unknown" : v === Infinity ? "background" : `${v.toFixed(3)} ${unit}`;
    case "relative": return Number.isNaN(v) ? "unknown" : String(+v.toPrecision(4)).replace("-", "−");
    case "direction": return values.every((x) => x === 0) ? "none" : values.map((x) => fixed(x)).join(" ");
    case "coordinate": return values.every((x) => x === 0) ? "none" : values.map((x) => fixed(x)).join(" ");
    case "displacement": return Number.isNaN(v) ? "none" : `${fixed(v)} ${fixed(values[1])} ${unit} · ${fixed(Math.hypot(...values))}`;
    default: return ids[v] !== undefined ? `${v} · ${ids[v]}` : String(v);
  }
}

const any = (row) => row !== undefined && row.some((x) => x !== 0 && x !== null);

/** Where the frame comes from and what made each field. */
function drawAbout(details, made) {
  const line = (name, value) => el("tr", {}, el("th", {}, name), el("td", {}, typeof value === "string" ? value : JSON.stringify(value)));
  const i = opened.i, tables = details.tables, about = [
    line("source", details.source),
    line("identity", `${details.identity.clip} · frame ${details.identity.frame}`),
    tables.time === undefined ? null : line("time", `${tables.time.toFixed(3)} s`),
    line("shard", `${datasetOf(i).shard_names[shardOf(i)]} · row ${frames.row[i]}`),
    ...Object.entries(details.how).map(([name, value]) => line(name, value)),
    tables.camera_K ? line("camera_K", tables.camera_K.map((row) => row.map((x) => +x.toFixed(1)).join("  ")).join(" / ")) : null,
    any(tables.camera_distortion) ? line("camera_distortion", tables.camera_distortion.map((x) => +x.toPrecision(3)).join(" ")) : null,
    any(tables.camera_shutter) ? line("camera_shutter", `exposed ${+(1000 * tables.camera_shutter[0]).toFixed(1)} ms, read out in ${+(1000 * tables.camera_shutter[1]).toFixed(1)} ms`) : null,
    tables.speed ? line("speed", tables.speed.map((x, k) => `${x === null || isNaN(x) ? "unknown" : (+x).toFixed(1) + " px"} ${k ? "of what moves of its own" : "of all"}`).join(", ")) : null,
    oddFigure[i] >= 0 ? line("oddness", `${oddScore[i].toFixed(1)} σ in ${report.figure_names[oddFigure[i]]}`) : null,
    tagsOf(i).length ? line("tags", tagsOf(i).join(", ")) : null,
  ];
  const makers = made.map(({ columns, made_by: by }) => el("details", {},
    el("summary", {}, el("b", {}, `${by.generator ?? "?"} ${by.version ?? ""}`), " ", columns.filter((name) => !name.endsWith("_confidence")).join(", ")),
    el("pre", {}, JSON.stringify(by, null, 1))));
  dialog.querySelector(".about").replaceChildren(
    el("h3", {}, "Where it is from"), el("table", {}, el("tbody", {}, about)),
    el("details", {}, el("summary", {}, "the clip's record"), el("pre", {}, JSON.stringify(details.clip, null, 1))),
    el("h3", {}, "What made it"), ...makers);
}

// --- playing a clip ------------------------------------------------------------------------------------------------

const PACE_MS = 125;
let playing = 0;

function stopPlaying() {
  clearInterval(playing);
  playing = 0;
  dialog.querySelector("#play")?.setAttribute("aria-pressed", "false");
}

/** Show the frames of the clip one after the other, with the labels that are on; again: stop at the one seen. */
function play() {
  if (playing) { const i = opened.shown; stopPlaying(); openFrame(i); return; }
  const list = [];
  let first = opened.i;
  while (neighbour(first, -1) >= 0) first = neighbour(first, -1);
  for (let i = first; i >= 0; i = neighbour(i, 1)) list.push(i);
  if (list.length < 2) return;
  const names = opened.main === "image" ? ["image", ...view.layers] : [opened.main];
  const sources = list.map((i) => names.map((name) => (name === opened.main ? pictureOf(i, name, 512) : layerOf(i, name, 512))));
  const ahead = sources.map((some) => some.map((source) => { const img = new Image(); if (source) img.src = source; return img; })); // held, so that they stay loaded
  let at = list.indexOf(opened.i);
  dialog.querySelector("#play").setAttribute("aria-pressed", "true");
  playing = setInterval(() => {
    const next = (at + 1) % list.length;
    if (!ahead[next].every((img) => !img.src || img.complete)) return; // wait for what isn't there yet
    at = next;
    opened.shown = list[at];
    const box = dialog.querySelector(".stage .box");
    names.forEach((name, k) => {
      let img = box.querySelector(`img[alt="${CSS.escape(name)}"]`);
      if (!img && sources[at][k]) { img = el("img", { class: "layer", alt: name, style: `opacity:${view.opacity}` }); box.append(img); }
      if (img && sources[at][k]) img.src = sources[at][k];
      if (img) img.hidden = !sources[at][k];
    });
    dialog.querySelector("header .dim").textContent = `frame ${numberInClip(list[at]) + 1} of ${list.length} in its clip`;
  }, PACE_MS);
}

function stepInOrder(by) {
  const at = order.indexOf(opened.i) + by;
  if (at < 0 || at >= order.length) return;
  moveTo(at);
  openFrame(order[at]);
}

dialog.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const i = opened.i, beside = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (beside) { const next = neighbour(i, beside); if (next >= 0) openFrame(next); }
  else if (event.key === "ArrowUp") stepInOrder(-1);
  else if (event.key === "ArrowDown") stepInOrder(1);
  else if (event.key.toLowerCase() === "x") { exclude(i, event.shiftKey); markOut(); }
  else if (event.key === "c") toggleTrust();
  else if (event.key === " " && event.target.tagName !== "BUTTON") play();
  else if (event.key === "m" && report.live) moreLike(i);
  else if (event.key === "t" && report.live) askTag([i]);
  else return;
  event.preventDefault();
  event.stopPropagation();
});
dialog.addEventListener("close", () => {
  stopPlaying();
  const at = order.indexOf(opened.i);
  opened.i = -1;
  keepAddress();
  if (at >= 0) moveTo(at);
  grid.focus({ preventScroll: true });
});
