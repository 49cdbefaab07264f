
// The trajectories: a list with filters, and one trajectory in full.

const KINDS = {
  prompt: "Prompt", think: "Think", search: "Search", information: "Information",
  answer: "Answer", warning: "Warning", other: "Other text",
};
const ORIGINS = { prompt: "user", policy: "model", environment: "environment" };
const OUTCOMES = {
  answered: "answered", "no-answer": "ended without an answer", malformed: "malformed action",
  "over-length": "out of tokens", "out-of-turns": "out of turns", failed: "failed (infrastructure)",
};

const outcomeName = (outcome) => (typeof outcome === "string" ? outcome : Object.keys(outcome)[0]);
const hopsName = (hops) => (hops === null ? "?" : String(hops));
const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

/** A sign, a word and a class for how a trajectory went. */
function verdict(member) {
  if (member.right === true) return ["✓", "right", "right"];
  if (member.right === false) return ["✗", "wrong", "wrong"];
  return ["–", OUTCOMES[outcomeName(member.outcome)] ?? outcomeName(member.outcome), "none"];
}

function goldIds(pool, question) {
  const ids = question.passages.map((idx) => pool.passages[idx].id);
  return new Set([...ids, ...question.steps.flatMap((step) => step.passage_ids)]);
}

function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

/** Fills the section of the trajectories. */
function viewer(pool, body) {
  const entries = pool.groups.map((group) => {
    const question = pool.questions[group.question];
    return { group, question, key: `${group.step}/${group.split}/${encodeURIComponent(question.id)}` };
  });
  const link = (entry, member) => `#t=${entry.key}/${member}`;
  let shown = entries.map((entry) => ({ entry, member: 0 }));
  let current = null;

  // The list.
  const distinct = (values) => [...new Set(values)].sort((a, b) => (a > b) - (a < b));
  const choice = (label, values, name = (it) => it) => {
    const options = values.map((value) => element("option", { value }, String(name(value))));
    const select = element("select", { onchange: filter }, element("option", { value: "" }, "all"), options);
    return [element("label", {}, label, select), select];
  };
  const members = entries.flatMap((it) => it.group.members);
  const [stepLabel, stepSelect] = choice("Step", distinct(entries.map((it) => it.group.step)));
  const [splitLabel, splitSelect] = choice("Split", distinct(entries.map((it) => it.group.split)));
  const [hopsLabel, hopsSelect] = choice("Hops", distinct(entries.map((it) => hopsName(it.question.hops))));
  const outcomes = distinct(members.map((it) => outcomeName(it.outcome)));
  const [outcomeLabel, outcomeSelect] = choice("Outcome", ["right", "wrong", ...outcomes],
    (it) => ({ right: "✓ right answer", wrong: "✗ wrong answer" })[it] ?? OUTCOMES[it] ?? it);
  const number = (name, hint) => element("input", {
    type: "number", step: "any", inputmode: "decimal", placeholder: hint, "aria-label": name, oninput: filter,
  });
  const lowest = number("Reward at least", "from");
  const highest = number("Reward at most", "to");
  const words = element("input", { type: "search", placeholder: "in questions, queries, texts", oninput: filter });
  const count = element("output", {});
  const list = element("ul", { class: "items", "aria-label": "Groups of trajectories" });
  const form = element("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
    element("label", { class: "full" }, "Text", words), stepLabel, splitLabel, hopsLabel, outcomeLabel,
    element("label", { class: "full" }, "Reward of a trajectory", element("span", { class: "pair" }, lowest, highest)),
    element("div", { class: "foot" }, count, element("button", {
      type: "button", class: "quiet", onclick: () => { form.reset(); filter(); },
    }, "Clear")));

  /** The ids of what contains the words, so that a group is found by any of its texts. */
  function matching(wanted) {
    const has = (text) => text.toLowerCase().includes(wanted);
    const texts = new Set();
    pool.texts.forEach((text, idx) => { if (has(text)) texts.add(idx); });
    pool.passages.forEach((passage) => { if (has(passage.title)) texts.add(`p${passage.text}`); });
    return (entry) => {
      const { question } = entry;
      if (has(question.text) || has(question.id) || question.golden_answers.some(has)) return () => true;
      return (member) => member.segments.some((segment) => segment.text.some((idx) => texts.has(idx))
        || segment.search && (has(segment.search.query) || segment.search.hits.some((hit) => {
          const { text } = pool.passages[hit.passage];
          return texts.has(text) || texts.has(`p${text}`);
        })));
    };
  }

  function filter() {
    const wanted = words.value.trim().toLowerCase();
    const byText = wanted ? matching(wanted) : () => () => true;
    const rewarded = (member) => {
      const { reward } = member.grade;
      if (lowest.value === "" && highest.value === "") return true;
      return reward !== null && reward >= Number(lowest.value || -Infinity)
        && reward <= Number(highest.value || Infinity);
    };
    const ended = (member) => {
      const value = outcomeSelect.value;
      if (value === "right" || value === "wrong") return member.right === (value === "right");
      return value === "" || outcomeName(member.outcome) === value;
    };
    shown = entries.flatMap((entry) => {
      const { group, question } = entry;
      if (stepSelect.value !== "" && String(group.step) !== stepSelect.value) return [];
      if (splitSelect.value !== "" && group.split !== splitSelect.value) return [];
      if (hopsSelect.value !== "" && hopsName(question.hops) !== hopsSelect.value) return [];
      const has = byText(entry);
      const member = group.members.findIndex((it) => has(it) && rewarded(it) && ended(it));
      return member < 0 ? [] : [{ entry, member }];
    });
    count.textContent = shown.length === entries.length ? plural(entries.length, "group")
      : `${shown.length} of ${plural(entries.length, "group")}`;
    list.replaceChildren(...shown.map(({ entry, member }) => element("li", {}, item(entry, member))));
    place();
  }

  function item(entry, member) {
    const { group, question } = entry;
    const n_right = group.members.filter((it) => it.right).length;
    const reward = mean(group.members.map((it) => it.grade.reward).filter((it) => it !== null));
    const [sign, word, kind] = group.members.length === 1 ? verdict(group.members[0])
      : [n_right ? "✓" : "✗", `${n_right} of ${group.members.length} right`, n_right ? "right" : "wrong"];
    return element("a", { href: link(entry, member), "data-key": entry.key },
      element("span", { class: "asked" }, question.text),
      element("span", { class: "meta" },
        element("span", {}, `step ${group.step} · ${group.split}${question.hops === null ? "" : ` · ${plural(question.hops, "hop")}`}`),
        element("span", {}, element("span", { class: `verdict ${kind}` }, `${sign} ${word}`),
          reward === null ? "" : ` · ${reward.toFixed(2)}`)));
  }

  // The trajectory.
  const button = (text, move) => element("button", {
    type: "button", class: "quiet", "data-move": move, onclick: () => step(move),
  }, text);
  const previous = button("← Previous", -1);
  const next = button("Next →", 1);
  const where = element("span", { class: "where", "aria-live": "polite" });
  const content = element("div", { class: "content" });
  const detail = element("article", { class: "detail", "aria-label": "Trajectory" },
    element("div", { class: "toolbar" }, where, element("kbd", {}, "arrow keys ← →"), previous, next), content);
  body.replaceChildren(element("div", { class: "viewer" },
    element("div", { class: "picker" }, form, list), detail));

  function position() {
    return shown.findIndex(({ entry }) => entry === current?.entry);
  }

  /** Marks the current group in the list and says where it stands. */
  function place() {
    const idx = position();
    for (const a of list.querySelectorAll("a")) {
      a.setAttribute("aria-current", String(a.dataset.key === current?.entry.key));
    }
    const a = list.querySelector("a[aria-current=true]");
    if (a) {
      const [top, bottom] = [a.offsetTop - list.offsetTop, a.offsetTop - list.offsetTop + a.offsetHeight];
      const inSight = top >= list.scrollTop && bottom <= list.scrollTop + list.clientHeight;
      if (!inSight) list.scrollTop = top - list.clientHeight / 3;
    }
    where.textContent = idx < 0 ? `not among the ${shown.length} listed` : `${idx + 1} of ${shown.length}`;
    previous.disabled = idx === 0 || !shown.length;
    next.disabled = idx === shown.length - 1 || !shown.length;
  }

  function step(move) {
    const idx = position();
    const target = shown[idx < 0 ? 0 : idx + move];
    if (!target) return;
    history.replaceState(null, "", link(target.entry, target.member));
    show(target.entry, target.member);
    if (detail.getBoundingClientRect().top < 0) detail.scrollIntoView({ block: "start", behavior: "instant" });
  }

  function show(entry, member) {
    const same = current?.entry === entry;
    current = { entry, member };
    if (same) {
      selectMember(member);
    } else {
      content.replaceChildren(...head(entry), ...membersOf(entry));
      selectMember(member);
    }
    place();
  }

  function head({ group, question }) {
    const others = entries.filter((it) => it.question.id === question.id
      && it.question.text === question.text && it.group.split !== "train");
    const facts = [`step ${group.step}`, group.split, question.hops === null ? null : plural(question.hops, "hop"),
      question.shape || null, question.id].filter(Boolean);
    return [
      element("p", { class: "note" }, facts.join(" · ")),
      element("h3", {}, question.text),
      element("p", { class: "golden" },
        element("span", { class: "lead" }, question.golden_answers.length === 1 ? "Golden answer" : "Golden answers"),
        question.golden_answers.map((it) => element("span", { class: "chip" }, it))),
      others.length > 1 ? element("p", { class: "others" }, "The same question at",
        others.map((it) => it.group === group
          ? element("b", {}, `step ${group.step}, ${group.split}`)
          : element("a", { href: link(it, 0) }, `step ${it.group.step}, ${it.group.split}`))) : null,
      evidence(question),
    ].filter(Boolean);
  }

  function evidence(question) {
    if (!question.steps.length && !question.passages.length && !question.entities.length) return null;
    const steps = question.steps.map((it) => element("li", {}, it.question, " → ", element("b", {}, it.answer),
      it.passage_ids.length ? element("span", { class: "note" }, ` (in ${it.passage_ids.join(", ")})`) : null));
    const passages = question.passages.map((idx) => {
      const passage = pool.passages[idx];
      return element("li", {}, element("b", {}, passage.title), ` (${passage.id}): ${pool.texts[passage.text]}`);
    });
    return element("details", { class: "fold evidence" },
      element("summary", {}, "Evidence, which the agent never sees"),
      element("div", { class: "inside" },
        steps.length ? element("ol", { "aria-label": "Steps" }, steps) : null,
        question.entities.length ? element("p", {}, "Entities: ", question.entities.join(", ")) : null,
        passages.length ? element("ol", { "aria-label": "Gold passages" }, passages) : null));
  }

  function membersOf({ group }) {
    if (group.members.length < 2) return [element("div", { id: "member" })];
    const panel = element("div", { id: "member", role: "tabpanel", tabindex: 0 });
    const tabs = group.members.map((member, idx) => {
      const [sign, word, kind] = verdict(member);
      const { reward } = member.grade;
      return element("button", {
        type: "button", role: "tab", id: `tab-${idx}`, "aria-controls": "member",
        onclick: () => pick(idx),
      }, `${idx + 1} `, element("span", { class: `verdict ${kind}`, title: word }, sign,
        element("span", { class: "unseen" }, ` ${word}`)), reward === null ? "" : ` ${reward.toFixed(2)}`);
    });
    return [element("div", {
      class: "tabs", role: "tablist", "aria-label": "Trajectories of the group",
      onkeydown: (event) => {
        const n = group.members.length;
        const target = {
          ArrowLeft: current.member - 1, ArrowRight: current.member + 1, Home: 0, End: n - 1,
        }[event.key];
        if (target === undefined) return;
        event.preventDefault();
        pick((target + n) % n);
        tabs[current.member].focus();
      },
    }, tabs), panel];
  }

  function pick(member) {
    history.replaceState(null, "", link(current.entry, member));
    show(current.entry, member);
  }

  function selectMember(idx) {
    const { group, question } = current.entry;
    const member = group.members[idx];
    content.querySelectorAll("[role=tab]").forEach((tab, at) => {
      tab.setAttribute("aria-selected", String(at === idx));
      tab.tabIndex = at === idx ? 0 : -1;
      // Not `scrollIntoView`, which would move the page as well.
      const row = tab.parentElement;
      const [left, right] = [tab.offsetLeft, tab.offsetLeft + tab.offsetWidth];
      if (at === idx && left < row.scrollLeft) row.scrollLeft = left - 20;
      if (at === idx && right > row.scrollLeft + row.clientWidth) row.scrollLeft = right - row.clientWidth + 20;
    });
    const panel = content.querySelector("#member");
    if (group.members.length > 1) panel.setAttribute("aria-labelledby", `tab-${idx}`);
    panel.replaceChildren(...(member ? trajectory(pool, question, member) : []));
  }

  /** What a person most likely came for: the last evaluation, and in it more than one hop. */
  function opening() {
    const evaluated = entries.filter((it) => it.group.split !== "train");
    const last = evaluated.filter((it) => it.group.step === evaluated.at(-1).group.step);
    return last.find((it) => it.question.hops > 1) ?? last[0] ?? entries.at(-1);
  }

  function follow() {
    if (!location.hash.startsWith("#t=")) return false;
    const at = location.hash.lastIndexOf("/");
    const entry = entries.find((it) => it.key === location.hash.slice(3, at));
    if (!entry) return false;
    const member = Number(location.hash.slice(at + 1)) || 0;
    show(entry, Math.min(member, entry.group.members.length - 1));
    return true;
  }

  /** Whether the trajectory stands below the list, on a narrow screen. */
  const stacked = () => detail.getBoundingClientRect().top > list.getBoundingClientRect().top;
  list.addEventListener("click", () => {
    if (stacked()) requestAnimationFrame(() => detail.scrollIntoView());
  });
  window.addEventListener("hashchange", follow);
  document.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.target.closest("input, select, textarea, [role=tablist], svg, .scroll, pre")) return;
    const box = body.getBoundingClientRect();
    if (box.top > window.innerHeight * 0.8 || box.bottom < 0) return;
    event.preventDefault();
    step(move);
  });
  filter();
  if (follow()) (stacked() ? detail : body.parentElement).scrollIntoView({ behavior: "instant" });
  else show(opening(), 0);
}

/** One trajectory: what came of it, then its segments. */
function trajectory(pool, question, member) {
  const gold = goldIds(pool, question);
  const searches = member.segments.filter((it) => it.search).map((it) => it.search);
  const seen = new Set(searches.flatMap((it) => it.hits.map((hit) => pool.passages[hit.passage].id)));
  const { grade } = member;
  const [sign, word, kind] = verdict(member);
  const outcome = outcomeName(member.outcome);
  const facts = [
    ["Answer", member.answer === null ? "none" : [element("b", {}, member.answer), " ",
      element("span", { class: `verdict ${kind}` }, `${sign} ${word}`)]],
    ["Outcome", outcome === "failed" ? `${OUTCOMES.failed}: ${member.outcome.failed}` : OUTCOMES[outcome] ?? outcome],
    ["Reward", grade.failure !== null ? `none: ${grade.failure}` : grade.reward === null ? "none" : formats.number(grade.reward)],
    grade.advantage === null ? null : ["Advantage", `${grade.advantage > 0 ? "+" : ""}${grade.advantage.toFixed(3)}`],
    ["Searches", String(searches.length)],
    gold.size ? ["Gold passages", `${[...gold].filter((id) => seen.has(id)).length} of ${gold.size} found`] : null,
    ["Model tokens", String(member.policy_tokens)],
  ].filter(Boolean);
  const score = element("div", { class: "score" },
    element("dl", {}, facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])),
    parts(grade.parts));
  const list = element("ol", { class: "segments" });
  let search = null;
  for (const segment of member.segments) {
    search = segment.search ?? search;
    const told = segment.kind === "information" && search?.failure === null ? search : null;
    list.append(segmentItem(pool, segment, gold, told, grade));
    if (told) search = null;
  }
  return [score, list];
}

function parts(values) {
  const names = Object.keys(values);
  if (!names.length) return null;
  const most = Math.max(1, ...Object.values(values).map(Math.abs));
  return element("table", {}, element("caption", { class: "unseen" }, "Rewards by part"),
    element("tbody", {}, names.map((name) => {
      const value = values[name];
      const width = `${100 * Math.abs(value) / most}%`;
      return element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, formats.number(value)),
        element("td", { class: "bar" }, shape("svg", { "aria-hidden": "true" },
          shape("rect", { class: "track", width: "100%", height: 8, rx: 4 }),
          value ? shape("rect", { class: value < 0 ? "fill minus" : "fill", width, height: 8, rx: 4 }) : null)));
    })));
}

function segmentItem(pool, segment, gold, found, grade) {
  const text = segment.text.map((idx) => pool.texts[idx]).join("");
  const header = element("header", {}, element("b", {}, KINDS[segment.kind] ?? segment.kind),
    element("span", {}, ORIGINS[segment.origin] ?? segment.origin),
    element("span", {}, plural(segment.tokens, "token")));
  return element("li", { class: `segment ${segment.kind}` }, header,
    element("div", {}, segmentBody(pool, segment, text, gold, found, grade)));
}

function segmentBody(pool, segment, text, gold, found, grade) {
  if (segment.kind === "prompt") {
    return element("details", {}, element("summary", {}, "The question in its template"),
      element("div", { class: "prose" }, text));
  }
  if (segment.kind === "search") {
    const { search } = segment;
    const value = search && grade.steps[search.idx];
    const aside = !search ? "not executed" : search.failure !== null ? `the search failed: ${search.failure}`
      : search.hits.length ? null : "nothing found";
    return [element("div", { class: "prose query" }, search?.query ?? text),
      aside ? element("div", { class: search?.failure ? "aside failed" : "aside" }, aside) : null,
      value === undefined || value === null ? null
        : element("div", { class: "aside" }, `step reward ${formats.number(value)}`)];
  }
  if (found?.hits.length) {
    return [element("ol", { class: "hits" }, found.hits.map((hit, idx) => hitItem(pool, hit, idx + 1, gold))),
      element("details", { class: "verbatim" }, element("summary", {}, "As the model read it"),
        element("div", { class: "prose" }, text))];
  }
  return element("div", { class: "prose" }, text);
}

function hitItem(pool, hit, rank, gold) {
  const passage = pool.passages[hit.passage];
  const text = pool.texts[passage.text];
  const isGold = gold.has(passage.id);
  return element("li", { class: isGold ? "gold" : null }, element("details", { class: "hit" },
    element("summary", {}, element("span", { class: "rank" }, `${rank}.`),
      element("span", {}, element("span", { class: "title" }, passage.title || passage.id), " ",
        isGold ? element("span", { class: "gold-mark" }, "★ gold") : null),
      element("span", { class: "points", title: "score" }, hit.score.toFixed(2)),
      element("span", { class: "snippet" }, text.slice(0, 160))),
    element("div", { class: "body" }, element("div", { class: "prose" }, text),
      element("div", { class: "aside" }, `passage ${passage.id}, score ${formats.number(hit.score)}`))));
}
