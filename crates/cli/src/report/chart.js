"use strict";

// Elements and charts. Text is only ever set as text: nothing here parses markup.

/** An element with attributes and children; a string becomes a text node, null is left out. */
function element(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

function shape(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((it) => it !== null && it !== undefined));
  return node;
}

const formats = {
  number(value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size < 0.001 || size >= 1e6) return value.toExponential(2).replace(/\.?0+e/, "e");
    return new Intl.NumberFormat("en", { maximumSignificantDigits: 4 }).format(value);
  },
  percent(value) {
    return `${(100 * value).toFixed(1)}%`;
  },
  seconds(value) {
    if (value < 120) return `${formats.number(value)} s`;
    const minutes = Math.round(value / 60);
    if (minutes < 120) return `${minutes} min`;
    return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  },
};

/** Round numbers that cover a range, about `n` of them. */
function ticks(low, high, n) {
  const rough = (high - low) / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].find((it) => it * power >= rough) * power;
  const first = Math.ceil(low / size - 1e-9);
  const last = Math.floor(high / size + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, idx) => (first + idx) * size);
}

/** Exponential mean, corrected for its start; `null` where there are too few points for one. */
function smoothed(points) {
  if (points.length < 20) return null;
  const keep = 1 - 1 / Math.max(2, points.length / 20);
  let sum = 0;
  let weight = 0;
  return points.map(([x, y]) => {
    sum = keep * sum + (1 - keep) * y;
    weight = keep * weight + (1 - keep);
    return [x, sum / weight];
  });
}

/** Whether a curve turns often; a schedule does not, and is drawn as it is. */
function isNoisy(points) {
  const rises = points.slice(1).map(([, y], idx) => Math.sign(y - points[idx][1])).filter(Boolean);
  const turns = rises.slice(1).filter((it, idx) => it !== rises[idx]).length;
  return turns > points.length / 10;
}

/** The range of the values drawn; single spikes of raw values may leave the chart. */
function valueRange(all) {
  const values = all.flatMap((one) => {
    const raw = one.points.map((point) => point[1]).sort((a, b) => a - b);
    const at = (share) => raw[Math.round(share * (raw.length - 1))];
    const ends = one.smooth ? [at(0.01), at(0.99)] : [raw[0], raw.at(-1)];
    const whiskers = one.points.flatMap((point) => point.slice(2));
    const deviations = one.band ? one.band.flatMap((point) => point.slice(1)) : [];
    return [...ends, ...(one.smooth ?? []).map((it) => it[1]), ...whiskers, ...deviations];
  });
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (!Number.isFinite(low)) return [0, 1];
  if (low >= 0 && low < 0.4 * high) low = 0;
  // A value that hardly moves is drawn as one.
  const least = 0.1 * Math.max(Math.abs(low), Math.abs(high)) || 1;
  if (high - low < least) [low, high] = [low - least / 2, high + least / 2];
  const room = 0.04 * (high - low);
  return [low === 0 ? 0 : low - room, high + room];
}

const marks = [
  (x, y) => shape("circle", { class: "point", cx: x, cy: y, r: 4 }),
  (x, y) => shape("rect", { class: "point", x: x - 3.5, y: y - 3.5, width: 7, height: 7 }),
  (x, y) => shape("path", { class: "point", d: `M${x} ${y - 5}l5 9h-10z` }),
  (x, y) => shape("path", { class: "point", d: `M${x} ${y - 5.5}l5 5.5l-5 5.5l-5 -5.5z` }),
  (x, y) => shape("path", { class: "point", d: `M${x} ${y + 5}l5 -9h-10z` }),
  (x, y) => shape("circle", { class: "point", cx: x, cy: y, r: 2.5 }),
];

function swatch(idx, sparse) {
  const line = shape("path", { class: "line", d: "M1 6H25" });
  return shape("svg", { class: `s${idx}`, width: 26, height: 12, "aria-hidden": "true" }, line,
    sparse ? marks[idx](13, 6) : null);
}

/** Charts of one axis move their cursor together: functions of a step, or of null, by axis. */
const cursors = new Map();
let n_charts = 0;

/**
 * A line chart over steps.
 *
 * A series is `{ label, points, sparse, band }`: points are `[step, value]`, or
 * `[step, value, low, high]` with an interval; sparse ones are marked and never smoothed; a band
 * is a list of `[step, low, high]`. At most six series. `axis` is what a step is called.
 */
function chart({ title, name, series, format = formats.number, steps, axis = "step" }) {
  const all = series.map((one, idx) => ({
    ...one, idx, shown: true, smooth: one.sparse || !isNoisy(one.points) ? null : smoothed(one.points),
  }));
  const clip = `clip-${n_charts++}`;
  const plot = element("div", { class: "plot" });
  const readout = element("div", { class: "readout", hidden: true });
  const spoken = element("p", { class: "unseen", "aria-live": "polite" });
  const figure = element("figure", { class: "chart" });
  const last = all[0].points.at(-1);
  const now = all.length > 1 ? null
    : element("span", { class: "now" }, "last ", element("b", {}, format(last[1])));
  figure.append(
    element("figcaption", {}, element("span", {}, element("strong", {}, title),
      name ? element("code", {}, name) : null), now),
    plot, readout, spoken);
  if (all.length > 1) {
    figure.append(element("div", { class: "legend" }, all.map((one) => element("button", {
      type: "button", "aria-pressed": "true",
      onclick(event) {
        one.shown = !one.shown;
        event.currentTarget.setAttribute("aria-pressed", String(one.shown));
        draw();
      },
    }, swatch(one.idx, one.sparse), one.label))));
  }

  const height = 190;
  const edge = { top: 8, right: 12, bottom: 24, left: 46 };
  let width = 0;
  let line = null;
  let at = null;
  const [first, end] = steps[0] === steps.at(-1) ? [steps[0] - 1, steps[0] + 1]
    : [steps[0], steps.at(-1)];
  const own = [...new Set(all.flatMap((one) => one.points.map((it) => it[0])))].sort((a, b) => a - b);
  const toX = (step) => edge.left + (step - first) / (end - first) * (width - edge.left - edge.right);

  function draw() {
    const visible = all.filter((one) => one.shown);
    const [low, high] = valueRange(visible);
    const toY = (value) =>
      height - edge.bottom - (value - low) / (high - low) * (height - edge.top - edge.bottom);
    const path = (points) =>
      points.map(([x, y], idx) => `${idx ? "L" : "M"}${toX(x).toFixed(1)} ${toY(y).toFixed(1)}`).join("");
    const [left, right, floor] = [edge.left, width - edge.right, height - edge.bottom];

    const grid = ticks(low, high, 5).flatMap((value) => [
      shape("line", { class: "tick", x1: left, x2: right, y1: toY(value), y2: toY(value) }),
      shape("text", { x: left - 6, y: toY(value) + 4, "text-anchor": "end" },
        format === formats.percent ? `${Math.round(100 * value * 10) / 10}%` : formats.number(value)),
    ]);
    const below = ticks(first, end, Math.max(2, width / 90)).filter(Number.isInteger).flatMap((step) => [
      shape("line", { class: "axis", x1: toX(step), x2: toX(step), y1: floor, y2: floor + 4 }),
      right - toX(step) < 34 ? null
        : shape("text", { x: toX(step), y: floor + 17, "text-anchor": "middle" }, String(step)),
    ]);
    const drawn = visible.map((one) => {
      const group = shape("g", { class: `s${one.idx}` });
      if (one.band) {
        const upper = one.band.map(([x, , y]) => [x, y]);
        const lower = one.band.map(([x, y]) => [x, y]).reverse();
        group.append(shape("path", { class: "band", d: `${path([...upper, ...lower])}Z` }));
      }
      if (one.smooth) group.append(shape("path", { class: "raw", d: path(one.points) }));
      group.append(shape("path", { class: "line", d: path(one.smooth ?? one.points) }));
      if (one.sparse) {
        for (const [x, y, from, to] of one.points) {
          if (from !== undefined) {
            group.append(shape("line", {
              class: "whisker", x1: toX(x), x2: toX(x), y1: toY(from), y2: toY(to),
            }));
          }
          group.append(marks[one.idx](toX(x), toY(y)));
        }
      }
      return group;
    });
    line = shape("line", { class: "cursor", y1: edge.top, y2: floor, visibility: "hidden" });
    const summary = all.map(({ label, points }) =>
      `${label}: ${format(points[0][1])} at ${axis} ${points[0][0]}, ${format(points.at(-1)[1])} at ${axis} ${points.at(-1)[0]}`);
    const axes = shape("svg", {
      class: "axes", viewBox: `0 0 ${width} ${height}`, height, tabindex: 0, role: "img",
      "aria-label": `${title}. ${summary.join(". ")}. Arrow keys read single steps.`,
      onpointermove: (event) => {
        const box = axes.getBoundingClientRect();
        const x = (event.clientX - box.left) * width / box.width;
        point(first + (x - edge.left) / (right - left) * (end - first));
      },
      onpointerleave: () => point(null),
      onblur: () => point(null),
      onkeydown: (event) => {
        const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (event.key === "Escape") point(null);
        if (!move) return;
        event.preventDefault();
        const idx = at === null ? (move > 0 ? 0 : own.length - 1) : own.indexOf(at) + move;
        point(own[Math.min(own.length - 1, Math.max(0, idx))]);
        spoken.textContent = readout.textContent;
      },
    },
      shape("clipPath", { id: clip },
        shape("rect", { x: left - 6, y: 0, width: right - left + 12, height: floor + 1 })),
      ...grid,
      shape("line", { class: "axis", x1: left, x2: right, y1: floor, y2: floor }),
      ...below.filter(Boolean), shape("text", { x: right + 8, y: floor + 17, "text-anchor": "end" }, axis), line, shape("g", { "clip-path": `url(#${clip})` }, ...drawn));
    plot.replaceChildren(axes);
  }

  /** Reads the values at the step next to one, or hides the readout. */
  function point(step) {
    at = step === null ? null
      : own.reduce((best, it) => (Math.abs(it - step) < Math.abs(best - step) ? it : best));
    for (const move of cursors.get(axis)) move(at);
    readout.hidden = at === null;
    if (at === null) return;
    const rows = all.filter((one) => one.shown).flatMap((one) => {
      const found = one.points.find((it) => it[0] === at);
      if (!found) return [];
      const interval = found.length > 2 ? ` [${format(found[2])}, ${format(found[3])}]` : "";
      return [element("span", { class: "row" },
        element("span", {}, swatch(one.idx, one.sparse), all.length > 1 ? one.label : ""),
        ` ${format(found[1])}${interval}`)];
    });
    readout.replaceChildren(element("b", {}, `${axis[0].toUpperCase()}${axis.slice(1)} ${at}`), ...rows);
    const x = plot.offsetLeft + toX(at) / width * plot.clientWidth;
    const beside = x > figure.clientWidth / 2 ? x - 10 - readout.offsetWidth : x + 10;
    const most = figure.clientWidth - readout.offsetWidth;
    readout.style.left = `${Math.max(0, Math.min(most, beside))}px`;
    readout.style.top = `${plot.offsetTop + 4}px`;
  }

  if (!cursors.has(axis)) cursors.set(axis, []);
  cursors.get(axis).push((step) => {
    if (!line) return;
    line.setAttribute("visibility", step === null ? "hidden" : "visible");
    for (const end of ["x1", "x2"]) line.setAttribute(end, toX(step ?? first));
  });
  new ResizeObserver(() => {
    // A page that is not shown has no width.
    if (plot.clientWidth < 100 || Math.abs(plot.clientWidth - width) < 1) return;
    width = plot.clientWidth;
    draw();
  }).observe(plot);
  return figure;
}

/** Two means with their intervals over 0 to 1, before above after; `after` may be missing. */
function forest(before, after, labelled) {
  const [width, height] = [240, labelled ? 46 : 26];
  const toX = (value) => 6 + value * (width - 12);
  const row = (it, y, kind) => it ? [
    shape("line", { class: kind, x1: toX(it.low), x2: toX(it.high), y1: y, y2: y }),
    shape("circle", { class: kind, cx: toX(it.mean), cy: y, r: 4 }),
  ] : [];
  const scale = [0, 0.25, 0.5, 0.75, 1].flatMap((value) => [
    shape("line", { x1: toX(value), x2: toX(value), y1: 0, y2: 26 }),
    labelled ? shape("text", {
      x: toX(value), y: 40, "text-anchor": value === 0 ? "start" : value === 1 ? "end" : "middle",
    }, `${100 * value}%`) : null,
  ]);
  const told = (it) => `${formats.percent(it.mean)}, from ${formats.percent(it.low)} to ${formats.percent(it.high)}`;
  return shape("svg", {
    class: "forest", viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": after ? `before: ${told(before)}; after: ${told(after)}` : told(before),
  }, scale, row(before, after ? 8 : 13, after ? "before" : "after"), row(after, 18, "after"));
}

/** A chart has six series at most. */
function split(plan) {
  if (plan.series.length <= 6) return [plan];
  return [{ ...plan, series: plan.series.slice(0, 6) },
    ...split({ ...plan, title: `${plan.title.replace(/, continued$/, "")}, continued`, series: plan.series.slice(6) })];
}
