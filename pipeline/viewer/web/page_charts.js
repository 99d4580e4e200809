"use strict";
// Small charts as SVG. Colours of the two datasets are those of style sheet classes d0 and d1.

/** Histograms over a common axis, one per dataset: [{counts, low, high}, null, …], each scaled to its own total. */
function histogram(parts, { width = 132, height = 30, label = "", unit = "", pick = null } = {}) {
  const there = parts.filter((part) => part && part.counts.some((count) => count > 0));
  if (!there.length) return el("span", { class: "none" }, "–");
  const low = Math.min(...there.map((part) => part.low)), high = Math.max(...there.map((part) => part.high));
  const span = Math.max(high - low, 1e-12);
  const shares = parts.map((part) => {
    if (!part) return null;
    const total = part.counts.reduce((a, b) => a + b, 0) || 1, bin = (part.high - part.low) / part.counts.length;
    return part.counts.map((count) => count / total / Math.max(bin / span, 1e-12));
  });
  // One crowded bin would flatten all others, so height goes with the root of density.
  const top = Math.sqrt(Math.max(...shares.flat().filter((share) => share !== null)));
  const chart = el("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  parts.forEach((part, d) => {
    if (!part) return;
    let path = "";
    part.counts.forEach((_, k) => {
      const x0 = ((part.low + (k * (part.high - part.low)) / part.counts.length - low) / span) * width;
      const x1 = ((part.low + ((k + 1) * (part.high - part.low)) / part.counts.length - low) / span) * width;
      const y = height - 1 - (Math.sqrt(shares[d][k]) / top) * (height - 2);
      path += `${k ? "L" : "M" + x0.toFixed(1) + " " + (height - 1) + "L"}${x0.toFixed(1)} ${y.toFixed(1)}L${x1.toFixed(1)} ${y.toFixed(1)}`;
      if (k === part.counts.length - 1) path += `L${x1.toFixed(1)} ${height - 1}`;
    });
    chart.append(el("path", { d: path, class: `area d${d}` }));
  });
  chart.append(el("line", { x1: 0, x2: width, y1: height - 0.5, y2: height - 0.5, class: "axis" }));
  chart.append(el("title", {}, `${label}: ${tidy(low)} to ${tidy(high)}${unit ? " " + unit : ""}; height is the root of density`));
  if (pick) {
    const bins = there[0].counts.length, at = (k) => low + (span * k) / bins;
    for (let k = 0; k < bins; k++)
      chart.append(el("rect", { class: "catch", "data-bin": k, x: (k * width) / bins, y: 0, width: width / bins, height, onclick: (event) => pick(at(k), at(k + 1), event.shiftKey) },
        el("title", {}, `show frames whose mean lies in ${tidy(at(k))} to ${tidy(at(k + 1))}; with Shift: these too`)));
  }
  return el("span", { class: "hist" }, chart, el("span", { class: "ends" }, el("i", {}, tidy(low)), el("i", {}, tidy(high))));
}

const tidy = (value) => (Number.isInteger(value) ? String(value) : Math.abs(value) >= 1000 || Math.abs(value) < 0.01 ? value.toExponential(1) : String(+value.toPrecision(3)));

/** Shares of the classes of a category, as one bar of parts. */
function classBars(counts, colours) {
  const total = Object.values(counts).reduce((a, b) => a + b, 0) || 1;
  const parts = Object.entries(counts).map(([name, count], k) => [name, count, colours[k]]).sort((a, b) => b[1] - a[1]);
  const text = parts.slice(0, 12).map(([name, count]) => `${name} ${percent(count / total)}`).join(", ");
  return el("span", { class: "parts", title: text, role: "img", "aria-label": text },
    parts.slice(0, 12).map(([, count, colour]) => el("span", { class: "part", style: `flex-grow:${((1000 * count) / total).toFixed(1)};background:${colour}` })));
}

/** What colours mean: a strip or wheel between its ends, and swatches with words; the first `most` of them. */
function legendOf(of, most = 12) {
  const hidden = of.swatches.length - most;
  return el("span", { class: "legend" },
    of.picture ? [el("i", {}, of.low), el("img", { alt: "", src: "data:image/webp;base64," + of.picture }), el("i", {}, of.high)] : null,
    of.swatches.slice(0, most).map(([colour, word]) => el("span", { class: "key" }, el("span", { class: "swatch", style: `background:${colour}` }), word)),
    hidden > 0 ? el("span", { class: "key" }, `and ${hidden} more`) : null);
}

/** Share of right labels over confidence: points as large as they are full, and the diagonal of honesty. */
function reliability(bins, label) {
  const side = 150, pad = 20, at = (x) => pad + x * (side - pad - 6), up = (y) => side - pad - y * (side - pad - 6);
  const total = bins.reduce((sum, [count]) => sum + count, 0) || 1;
  const chart = el("svg", { class: "chart rel", viewBox: `0 0 ${side} ${side}`, width: side, height: side, role: "img", "aria-label": label });
  for (const tick of [0, 0.5, 1]) {
    chart.append(el("line", { x1: at(tick), x2: at(tick), y1: up(0), y2: up(1), class: "rule" }), el("line", { x1: at(0), x2: at(1), y1: up(tick), y2: up(tick), class: "rule" }));
    chart.append(el("text", { x: at(tick), y: side - 7, "text-anchor": "middle" }, String(tick)), el("text", { x: pad - 4, y: up(tick) + 3, "text-anchor": "end" }, String(tick)));
  }
  chart.append(el("line", { x1: at(0), y1: up(0), x2: at(1), y2: up(1), class: "honest" }));
  chart.append(el("path", { d: bins.map(([, said, right], k) => `${k ? "L" : "M"}${at(said).toFixed(1)} ${up(right).toFixed(1)}`).join(""), class: "curve" }));
  for (const [count, said, right] of bins)
    chart.append(el("circle", { cx: at(said), cy: up(right), r: (1.5 + 7 * Math.sqrt(count / total)).toFixed(1), class: "dot" },
      el("title", {}, `${number(count)} labels: confidence ${said.toFixed(2)}, right ${percent(right)}`)));
  return chart;
}

/** A bar from the value of chance (or the worst) to that of full agreement. */
function scaleBar(value, best, chance) {
  const from = chance ?? 0, share = best === from ? 0 : Math.max(0, Math.min(1, (value - from) / (best - from)));
  return el("span", { class: "scale" }, el("span", { class: "fill", style: `width:${(100 * share).toFixed(1)}%` }));
}
