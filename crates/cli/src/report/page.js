
// What every page has: its data, its theme, cards, and the run file.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function theme() {
  const names = ["auto", "light", "dark"];
  const button = byId("theme");
  let stored = null;
  // A page that is opened from a file may have no storage.
  try { stored = localStorage.getItem("forage-theme"); } catch { /* the choice lasts for the visit */ }
  let chosen = names.includes(stored) ? stored : "auto";
  const apply = () => {
    document.documentElement.dataset.theme = chosen;
    button.textContent = `Theme: ${chosen}`;
    button.setAttribute("aria-label", `Colour theme: ${chosen === "auto" ? "as the system" : chosen}`);
  };
  button.addEventListener("click", () => {
    chosen = names[(names.indexOf(chosen) + 1) % names.length];
    try { localStorage.setItem("forage-theme", chosen); } catch { /* as above */ }
    apply();
  });
  apply();
}

function card(title, sub, from, to, ...rest) {
  return element("div", { class: "card" }, element("h3", {}, title), element("div", { class: "sub" }, sub),
    element("div", { class: "big" }, from === null ? null : element("span", { class: "from" }, `${from} → `), to), ...rest);
}

/** The run file of the page, where it has one. */
function runFile(body) {
  if (data.config === null) return;
  body.append(element("details", { class: "fold" }, element("summary", {}, "Run file, as it was read"),
    element("div", { class: "inside" }, element("pre", { tabindex: 0 }, data.config))));
}
