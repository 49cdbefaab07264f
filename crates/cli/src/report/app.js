
// The page: header, result, curves, provenance.

/** A value of the manifest in a few words. */
function brief(value) {
  if (value === null || value === undefined || value === "") return null;
  if (Array.isArray(value)) return value.map(brief).filter(Boolean).join(", ") || null;
  if (typeof value === "object") return brief(value.name ?? value.id ?? null) ?? JSON.stringify(value);
  return String(value);
}

function header() {
  const manifest = data.manifest ?? {};
  const name = brief(manifest.name) ?? data.run;
  byId("run-name").textContent = name;
  document.title = `${name} · Forage run`;
  const n = data.curves.steps.at(-1);
  const facts = [
    ["Model", manifest.model], ["Device", manifest.device], ["Seed", manifest.seed],
    ["Steps", n === undefined ? null : n], ["Training time", data.curves.seconds > 0 ? formats.seconds(data.curves.seconds) : null],
    ["Rewards", manifest.plugins], ["Forage", manifest.version], ["Commit", brief(manifest.commit)?.slice(0, 12)],
  ];
  byId("run-facts").append(...facts.map(([label, value]) => [label, brief(value)]).filter(([, value]) => value)
    .map(([label, value]) => element("div", {}, element("dt", {}, label), element("dd", {}, value))));
}

/** First and last evaluation of each split and question file. */
function comparisons() {
  const groups = Map.groupBy(data.evaluations, (it) => JSON.stringify([it.split, it.questions]));
  return [...groups.values()].map((all) => ({
    split: all[0].split, sampling: all[0].sampling, questions: all[0].questions,
    before: all[0], after: all.length > 1 ? all.at(-1) : null,
  }));
}

const interval = (it) => `[${(100 * it.low).toFixed(1)}, ${(100 * it.high).toFixed(1)}]`;

/** A change in points of a percentage, or in plain numbers. */
function change(from, to, percent) {
  const by = percent ? 100 * (to - from) : to - from;
  const text = by.toFixed(percent ? 1 : 2);
  const kind = !percent || Math.abs(by) < 0.05 ? "" : by > 0 ? "up" : "down";
  return element("span", { class: `change ${kind}` },
    `${by > 0 ? "+" : ""}${text.replace("-", "−")}${percent ? " points" : ""}`);
}

function result() {
  const all = comparisons();
  const cards = all.flatMap(({ sampling, split, questions, before, after }) => {
    const [from, to] = [before.rows[0], after?.rows[0]];
    if (!from) return [];
    const title = `Exact match, ${sampling || split}`;
    // Questions whose search failed are in no mean.
    const failed = [from, to].map((row) => row?.failed || 0);
    const lost = failed.some((n) => n > 0) ? ` (${failed.join(" and ")} more failed)` : "";
    const sub = `${plural(from.n, "question")} of ${questions}${lost}`;
    const percent = formats.percent;
    if (!to) return [card(title, `${sub}, step ${before.step}`, null, percent(from.em.mean), forest(from.em, null, true))];
    return [card(title, sub, percent(from.em.mean), percent(to.em.mean),
      change(from.em.mean, to.em.mean, true), " ",
      element("span", { class: "ci" }, `95% ${interval(from.em)} → ${interval(to.em)}`),
      forest(from.em, to.em, true))];
  });
  const rewards = (data.curves.series["reward/mean"] ?? []).filter((it) => it !== null);
  if (rewards.length > 1) {
    const n = Math.min(10, Math.floor(rewards.length / 2));
    const [from, to] = [mean(rewards.slice(0, n)), mean(rewards.slice(-n))];
    cards.push(card("Training reward", `mean of the first and the last ${plural(n, "step")}`,
      from.toFixed(2), to.toFixed(2), change(from, to, false)));
  }
  const behaviour = all.find((it) => it.after?.rows[0]);
  if (behaviour) {
    const [from, to] = [behaviour.before.rows[0], behaviour.after.rows[0]];
    cards.push(card("Searches a question", behaviour.sampling || behaviour.split,
      from.searches.toFixed(2), to.searches.toFixed(2), change(from.searches, to.searches, false), " ",
      element("span", { class: "ci" }, `answered ${formats.percent(from.answered)} → ${formats.percent(to.answered)}`)));
  }
  byId("headline").append(...cards);
  if (!cards.length) byId("headline").append(element("p", { class: "note" }, "This run has no evaluation and no reward yet."));
  byId("tables").append(...all.map(table));
}

const hopsLabel = (name) => ({ all: "all", "?": "unknown", 1: "1 hop" })[name] ?? `${name} hops`;

function table({ sampling, split, questions, before, after }) {
  const pair = (from, to, format) => (to === undefined ? format(from) : `${format(from)} → ${format(to)}`);
  const rows = before.rows.map((from) => {
    const to = after?.rows.find((it) => it.name === from.name);
    return element("tr", { class: from.name === "all" ? "total" : null },
      element("th", { scope: "row" }, hopsLabel(from.name)), element("td", {}, String(from.n)),
      element("td", {}, formats.percent(from.em.mean), element("span", { class: "ci" }, interval(from.em))),
      after ? element("td", {}, to ? [formats.percent(to.em.mean), element("span", { class: "ci" }, interval(to.em))] : "–") : null,
      after ? element("td", {}, to ? change(from.em.mean, to.em.mean, true) : "–") : null,
      element("td", {}, forest(from.em, to?.em, false)),
      element("td", {}, pair(from.f1.mean, to?.f1.mean, formats.percent)),
      element("td", {}, pair(from.searches, to?.searches, (it) => it.toFixed(2))),
      element("td", {}, pair(from.answered, to?.answered, formats.percent)));
  });
  const heads = ["Questions", "n", after ? `EM at step ${before.step}` : "EM", ...(after ? [`EM at step ${after.step}`, "Change"] : []),
    "0% to 100%", "F1", "Searches", "Answered"];
  const title = `Held-out questions, ${sampling || split}`;
  return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title },
    element("table", {}, element("caption", {}, title,
      element("small", {}, `${questions}; exact match with 95% intervals${after ? "; hollow is before, filled is after" : ""}`)),
    element("thead", {}, element("tr", {}, heads.map((it) => element("th", { scope: "col", class: it.startsWith("0%") ? "left" : null }, it)))),
    element("tbody", {}, rows)));
}

// Curves. Names are stable; what is not known here gets a chart of its own, by its prefix.

const TITLES = {
  "reward/mean": "Mean reward", "loss/policy": "Policy loss", "loss/grad_norm": "Gradient norm",
  "policy/entropy": "Entropy", "policy/clip_fraction": "Clipped tokens",
  "rollout/searches": "Searches a trajectory", "rollout/policy_tokens": "Model tokens a trajectory",
  "rollout/mismatch_kl": "Sampler mismatch, KL", "groups/zero_variance": "Groups without variance",
  "optimizer/learning_rate": "Learning rate", "em": "Exact match", "f1": "F1", "searches": "Searches a question",
};
const SHARES = /^(policy\/clip_fraction|groups\/zero_variance|outcome\/.*)$/;
const SECTIONS = [
  ["Reward", ["reward"]], ["Held-out questions", ["eval"]], ["Optimization", ["loss", "policy", "optimizer"]],
  ["Rollouts", ["rollout", "groups", "outcome"]], ["Time", ["seconds"]],
];

function curves() {
  const { steps, series, left_out } = data.curves;
  const columns = new Map(Object.entries(series).map(([name, column]) => [name,
    column.flatMap((value, idx) => (value === null ? [] : [[steps[idx], value]]))]).filter(([, it]) => it.length));
  if (!columns.size) {
    byId("charts").append(element("p", { class: "note" }, "This run has no metrics yet."));
    return;
  }
  byId("curves-note").textContent = "Faint lines are raw values, strong lines a running mean over a twentieth of the run."
    + (left_out ? ` ${plural(left_out, "step")} between those shown are left out to keep the page small.` : "");
  const known = new Set(SECTIONS.flatMap(([, prefixes]) => prefixes));
  const others = [...new Set([...columns.keys()].map((it) => it.split("/")[0]))].filter((it) => !known.has(it)).sort();
  for (const [title, prefixes] of [...SECTIONS, ...others.map((it) => [it, [it]])]) {
    const names = prefixes.flatMap((prefix) => [...columns.keys()].filter((it) => it.split("/")[0] === prefix));
    const charts = plans(title, names, columns).flatMap(split).map((plan) => chart({ steps, ...plan }));
    if (!charts.length) continue;
    byId("charts").append(element("div", { class: "chart-group" }, element("h3", {}, title), element("div", { class: "grid" }, charts)));
  }
}

/** Which charts a section has, and their series. */
function plans(section, names, columns) {
  const single = (name) => ({
    title: TITLES[name] ?? name, name: TITLES[name] ? name : null,
    format: SHARES.test(name) ? formats.percent : formats.number, series: [{ label: name, points: columns.get(name) }],
  });
  const together = (title, names, label, rest = {}) => ({
    title, series: names.map((name) => ({ label: label(name), points: columns.get(name) })), ...rest,
  });
  if (section === "Reward") return rewardPlans(names, columns, single, together);
  if (section === "Held-out questions") return evaluationPlans(names, columns);
  if (section === "Time") return names.length ? [together("Seconds a step", names, (it) => it.slice(8), { format: formats.number })] : [];
  if (section === "Rollouts") {
    const outcomes = names.filter((it) => it.startsWith("outcome/"));
    const rest = names.filter((it) => !it.startsWith("outcome/")).map(single);
    return outcomes.length ? [...rest, together("Outcomes", outcomes, (it) => it.slice(8), { format: formats.percent })] : rest;
  }
  return names.map(single);
}

/** The mean with its deviation, then a chart for each reward with its parts. */
function rewardPlans(names, columns, single, together) {
  const all = [];
  if (columns.has("reward/mean")) {
    const plan = single("reward/mean");
    const deviation = new Map(columns.get("reward/std") ?? []);
    const [center, spread] = [smoothed(columns.get("reward/mean")), smoothed([...deviation])];
    if (center && spread?.length === center.length) {
      plan.title = "Mean reward ± deviation";
      plan.series[0].band = center.map(([x, y], idx) => [x, y - spread[idx][1], y + spread[idx][1]]);
    }
    all.push(plan);
  }
  const rest = names.filter((it) => it !== "reward/mean" && (it !== "reward/std" || !columns.has("reward/mean")));
  for (const [reward, own] of Map.groupBy(rest, (it) => it.split("/")[1])) {
    const label = (it) => it.split("/").slice(2).join("/") || "whole";
    all.push(together(`Reward ${reward}`, own, label, { name: `reward/${reward}` }));
  }
  return all;
}

/** For each measure a chart with its splits, and for each split one by hops. */
function evaluationPlans(names, columns) {
  const whiskers = new Map();
  for (const { split, step, rows } of data.evaluations) {
    for (const row of rows) {
      for (const measure of ["em", "f1"]) {
        const name = `eval/${split}/${measure}${row.name === "all" ? "" : `/${row.name}`}`;
        whiskers.set(`${name} ${step}`, [row[measure].low, row[measure].high]);
      }
    }
  }
  const one = (name, label) => ({
    label, sparse: true, points: columns.get(name).map(([x, y]) => [x, y, ...(whiskers.get(`${name} ${x}`) ?? [])]),
  });
  const plans = [];
  const measures = Map.groupBy(names, (name) => {
    const [, split, measure, ...kind] = name.split("/");
    return kind.length ? `${measure} by hops, ${split}` : measure ?? split;
  });
  for (const [measure, own] of measures) {
    const [first] = measure.split(" ");
    const format = /^(em|f1|answered)$/.test(first) ? formats.percent : formats.number;
    const label = (name) => (measure === first ? name.split("/")[1] : hopsLabel(name.split("/").slice(3).join("/")));
    plans.push({ title: (TITLES[first] ?? first) + measure.slice(first.length), format, series: own.map((name) => one(name, label(name))) });
  }
  // Exact match first, and whole before parts.
  const rank = ({ title }) => `${title.startsWith(TITLES.em) ? 0 : 1}${title.includes(" by hops") ? 1 : 0}${title}`;
  return plans.sort((a, b) => rank(a).localeCompare(rank(b)));
}

function trajectories() {
  const shown = data.trajectories;
  if (!shown.groups.length) {
    byId("viewer-body").append(element("p", { class: "note" }, "This run has no trajectories yet."));
    return;
  }
  const { n_groups, n_files, n_files_read } = shown;
  const left = [];
  if (n_groups > shown.groups.length) left.push(`${n_groups - shown.groups.length} of the ${n_groups} groups in the files read`);
  if (n_files > n_files_read) left.push(`${plural(n_files - n_files_read, "file")} of other steps`);
  byId("viewer-note").textContent = left.length
    ? `Shown: ${plural(shown.groups.length, "group")}, first and last evaluations before all others. Left out to keep the page small: ${left.join(", and ")}; they are in the run's folder.`
    : `All ${plural(shown.groups.length, "group")} of the run.`;
  viewer(shown, byId("viewer-body"));
}

function provenance() {
  const rows = [];
  const flatten = (path, value) => {
    if (value !== null && typeof value === "object") {
      for (const [key, inner] of Object.entries(value)) {
        const name = Array.isArray(value) ? inner?.name ?? key : key;
        flatten(path ? `${path}.${name}` : name, inner);
      }
    } else if (value !== null) {
      rows.push([path, String(value)]);
    }
  };
  flatten("", data.manifest);
  const body = byId("provenance-body");
  if (rows.length) {
    body.append(element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Manifest" },
      element("table", { class: "pairs" }, element("tbody", {}, rows.map(([name, value]) =>
        element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value)))))));
  }
  runFile(body);
  if (!body.children.length) body.append(element("p", { class: "note" }, "This run has no manifest."));
}

theme();
header();
result();
curves();
trajectories();
provenance();
