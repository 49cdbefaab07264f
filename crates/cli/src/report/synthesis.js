
// The page of a synthesis: what passed, by round and by target steps.

const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

/** A share with its 95 % interval (Wilson). */
function shareOf(share, n) {
  const z = 1.96;
  const middle = (share + z * z / (2 * n)) / (1 + z * z / n);
  const half = z / (1 + z * z / n) * Math.sqrt(share * (1 - share) / n + z * z / (4 * n * n));
  return [share, Math.max(0, middle - half), Math.min(1, middle + half)];
}

const roundLabel = (n) => (n === 0 ? "no update" : `after ${plural(n, "round")}`);

/** What a chart shows of a row: a share of items, or a mean over correct pairs. */
const MEASURES = {
  passed: ["Share passed", formats.percent, (row) => shareOf(row.passed, row.items)],
  correct: ["Share correct", formats.percent, (row) => shareOf(row.correct, row.items)],
  average: ["Avg@K", formats.percent, (row) => [row.average]],
  searches: ["Searches of a run", formats.number, (row) => [row.searches]],
};
/** Means are of correct pairs; without one there is none. */
const hasMeans = (row) => row.items > 0 && row.correct > 0;
const isShown = (key, row) => (["passed", "correct"].includes(key) ? row?.items > 0 : row && hasMeans(row));

function header() {
  byId("run-name").textContent = data.run;
  byId("run-facts").append(...data.facts.map(([label, value]) =>
    element("div", {}, element("dt", {}, label), element("dd", {}, value))));
}

function result() {
  const { rounds, accepted, usage } = data.report;
  const [first, last] = [rounds[0], rounds.at(-1)];
  const percent = formats.percent;
  const both = (key, format) => [rounds.length > 1 ? format(first.all[key]) : null, format(last.all[key])];
  const of = `${plural(last.all.items, "item")}, ${roundLabel(last.rounds)}`;
  const cards = [
    card("Passed", `of ${of}`, ...both("passed", percent)),
    card("Correct", `of ${of}`, ...both("correct", percent)),
    card("Searches of a run", "mean over correct pairs", ...both("searches", (it) => it.toFixed(2))),
    card("Questions kept", `${plural(last.agent_runs, "run")} of the agent`, null, String(accepted)),
  ];
  if (usage.calls > 0) {
    cards.push(card("Calls", `${usage.prompt_tokens} tokens read, ${usage.completion_tokens} written`,
      null, String(usage.calls), element("span", { class: "ci" }, `${usage.money.toFixed(2)} spent`)));
  }
  byId("headline").append(...cards);
  const rows = rounds.flatMap((after) => [["all", after.all], ...Object.entries(after.by_steps)]
    .map(([steps, row]) => element("tr", { class: steps === "all" ? "total" : null },
      element("th", { scope: "row" }, steps === "all" ? roundLabel(after.rounds) : `S = ${steps}`),
      ...[String(row.items), percent(row.correct), percent(row.passed),
        hasMeans(row) ? percent(row.average) : "–", hasMeans(row) ? row.searches.toFixed(2) : "–",
        steps === "all" ? String(after.agent_runs) : ""].map((it) => element("td", {}, it)))));
  byId("tables").append(table("What stands after each round",
    ["", "Items", "Correct", "Passed", "Avg@K", "Searches", "Runs of the agent"], rows));
}

function table(title, heads, rows) {
  return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title },
    element("table", {}, element("caption", {}, title),
      element("thead", {}, element("tr", {}, heads.map((it) => element("th", { scope: "col" }, it)))),
      element("tbody", {}, rows)));
}

function curves() {
  const { rounds } = data.report;
  const steps = Object.keys(rounds[0].by_steps);
  const byRound = Object.keys(MEASURES).map((key) => {
    const [title, format, value] = MEASURES[key];
    const one = (label, rowOf) => ({
      label, sparse: true,
      points: rounds.filter((it) => isShown(key, rowOf(it))).map((it) => [it.rounds, ...value(rowOf(it))]),
    });
    const series = [one("all", (it) => it.all), ...steps.map((s) => one(`S = ${s}`, (it) => it.by_steps[s]))];
    return { title: `${title}, by round`, axis: "round", steps: rounds.map((it) => it.rounds), format, series };
  });
  const bySteps = Object.keys(MEASURES).map((key) => {
    const [title, format, value] = MEASURES[key];
    const series = rounds.map((after) => ({
      label: roundLabel(after.rounds), sparse: true,
      points: Object.entries(after.by_steps).filter(([, row]) => isShown(key, row))
        .map(([s, row]) => [Number(s), ...value(row)]),
    }));
    if (key === "searches") series.push({ label: "as asked", sparse: true, points: steps.map((s) => [Number(s), Number(s)]) });
    return { title: `${title}, by S`, axis: "S", steps: steps.map(Number), format, series };
  });
  for (const [title, plans] of [["By S", bySteps], ["By round", byRound]]) {
    const charts = plans.map((plan) => ({ ...plan, series: plan.series.filter((it) => it.points.length) }))
      .filter((plan) => plan.series.length).flatMap(split).map(chart);
    if (charts.length) byId("charts").append(element("div", { class: "chart-group" }, element("h3", {}, title), element("div", { class: "grid" }, charts)));
  }
  if (!byId("charts").children.length) byId("charts").append(element("p", { class: "note" }, "No item has come to an end."));
}

function reasons() {
  const { report } = data;
  const counted = [
    ...report.reasons.map((counts, round) => [`Not passed in round ${round}`, counts]),
    ["Runs that were lost", report.lost_runs], ["Items dropped", report.dropped],
    ["Questions kept, by fewest searches", report.by_searches],
  ].filter(([, counts]) => Object.keys(counts).length);
  byId("reasons-body").append(...counted.map(([title, counts]) => table(title, ["", "Count"],
    Object.entries(counts).map(([reason, n]) => element("tr", {},
      element("th", { scope: "row" }, reason), element("td", {}, String(n)))))));
  if (!counted.length) byId("reasons-body").append(element("p", { class: "note" }, "Everything passed at once."));
}

function questions() {
  const { questions, n_questions } = data;
  byId("questions-note").textContent = questions.length < n_questions
    ? `The first ${questions.length} of ${n_questions}; all are in the run's folder.` : "";
  byId("questions-body").append(...questions.map(({ split, id, text, answers, steps }) =>
    element("details", { class: "fold" }, element("summary", {}, text),
      element("div", { class: "inside" },
        element("p", {}, element("b", {}, answers.join(" / ")), ` · ${split} · ${id}`),
        steps.length ? element("ol", {}, steps.map(([question, answer]) => element("li", {}, question, " ", element("b", {}, answer)))) : null))));
  if (!questions.length) byId("questions-body").append(element("p", { class: "note" }, "No question was kept."));
}

theme();
header();
result();
curves();
reasons();
questions();
runFile(byId("provenance-body"));
