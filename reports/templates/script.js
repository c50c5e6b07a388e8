"use strict";
// Sorts and filters tables, lights one variant up in all figures, copies. The page is whole without it; what is chosen stands in the address.
const main = document.querySelector("main"), names = JSON.parse(main.dataset.names), state = new URLSearchParams();
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (tag, text, more = {}) => Object.assign(document.createElement(tag), {textContent: text}, more);
const text = cell => cell.textContent.trim(), bare = label => label.replace(/ †$/, "");

// Which variant, task and length a row or a panel is about; null where it does not say
function about(texts, head = []) {
  const cell = texts.map(t => t.match(/^(.+), T\s=\s(\d+)/)).find(Boolean), place = head.indexOf("T");
  return {
    variant: texts.map(bare).find(t => names.variant.includes(t)) ?? null,
    task: cell?.[1] ?? texts.find(t => names.task.includes(t)) ?? null,
    length: cell?.[2] ?? texts[place] ?? null,
  };
}

function apply() {
  const wanted = Object.keys(names).filter(field => state.get(field)), variant = state.get("variant");
  for (const table of all("table")) {
    const head = all("thead th", table).map(text);
    for (const row of all("tbody tr", table)) {
      const own = about(all("th, td", row).map(text), head);
      row.hidden = wanted.some(field => own[field] !== null && own[field] !== state.get(field) && own[field] !== "lstm");
    }
    const [id, column, way] = (state.get("sort") ?? "").split(",");
    if (table.closest("figure").id === id) sort(table, Number(column), Number(way));
  }
  document.body.classList.toggle("lit", Boolean(variant));
  for (const mark of all("svg .mark[data-variant]")) mark.classList.toggle("on", [variant, "lstm"].includes(mark.dataset.variant));
  document.body.classList.toggle("cut", Boolean(state.get("task") || state.get("length")));
  for (const panel of all("svg .panel")) {
    const own = about([panel.dataset.panel]);
    panel.classList.toggle("off", ["task", "length"].some(field => state.get(field) && own[field] !== null && own[field] !== state.get(field)));
  }
  for (const select of all(".tools select")) select.value = state.get(select.name) ?? "";
}

function choose(field, value) {
  if (value) state.set(field, value); else state.delete(field);
  const place = location.hash.slice(1).split("?")[0], chosen = state.toString();
  history.replaceState(null, "", `#${place}${chosen ? "?" + chosen : ""}`);
  apply();
}

function sort(table, column, way) {
  const number = row => { const found = text(row.cells[column]).replaceAll("−", "-").replaceAll(",", "").match(/[-+]?\d+(\.\d+)?/); return found ? Number(found[0]) : NaN; };
  const rows = all("tbody tr", table), numeric = rows.some(row => !isNaN(number(row))) && column > 0;
  const key = (a, b) => numeric ? (isNaN(number(a)) - isNaN(number(b))) || way * (number(a) - number(b)) : way * text(a.cells[column]).localeCompare(text(b.cells[column]));
  table.tBodies[0].append(...rows.sort((a, b) => key(a, b) || 0));
  all("thead th", table).forEach((th, i) => i === column ? th.setAttribute("aria-sort", way > 0 ? "ascending" : "descending") : th.removeAttribute("aria-sort"));
}

function lines(table) {
  return all("tr", table).filter(row => !row.hidden).map(row => [...row.cells].map(cell => text(cell).replace(/\s+/g, " ")));
}
function markdown(table) {
  const [head, ...rows] = lines(table).map(row => row.map(cell => cell.replaceAll("|", "\\|")));
  return [head, head.map(() => "---"), ...rows].map(row => `| ${row.join(" | ")} |`).join("\n");
}
function latex(table) {
  const signs = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "−": "$-$", "▲": "$\\blacktriangle$", "▼": "$\\blacktriangledown$", "≈": "$\\approx$", "–": "--", "≥": "$\\geq$"};
  const [head, ...rows] = lines(table).map(row => row.map(cell => cell.replace(/[\\~^−▲▼≈–≥&%$#_{}]/g, sign => signs[sign] ?? "\\" + sign)).join(" & ") + " \\\\");
  return [`\\begin{tabular}{${"l".repeat(table.rows[0].cells.length)}}`, "\\toprule", head, "\\midrule", ...rows, "\\bottomrule", "\\end{tabular}"].join("\n");
}
function copier(label, content) {
  const button = make("button", label, {type: "button", className: "copy"});
  button.onclick = async () => {
    const said = await navigator.clipboard?.writeText(content()).then(() => "copied", () => "not allowed here") ?? "not allowed here";
    button.textContent = said;
    setTimeout(() => { button.textContent = label; }, 1500);
  };
  return button;
}

function furnish() {
  const tools = make("div", "", {className: "tools"});
  for (const field of Object.keys(names)) {
    const label = make("label", `${field} `), select = make("select", "", {name: field});
    select.append(make("option", "all", {value: ""}), ...names[field].map(name => make("option", name, {value: name})));
    select.onchange = () => choose(field, select.value);
    label.append(select);
    tools.append(label);
  }
  document.querySelector("nav").before(tools);
  for (const figure of all("figure.table")) {
    const table = figure.querySelector("table"), take = figure.querySelector(".take");
    take.append(" · ", copier("copy as Markdown", () => markdown(table)), " ", copier("copy as LaTeX", () => latex(table)));
    all("thead th", table).forEach((th, column) => {
      const button = make("button", text(th) || "name", {type: "button", title: "sort"});
      button.onclick = () => choose("sort", `${figure.id},${column},${th.getAttribute("aria-sort") === "ascending" ? -1 : 1}`);
      th.replaceChildren(button);
    });
  }
  for (const listing of all("figure.listing")) listing.append(copier("copy", () => text(listing.querySelector("pre"))));
  for (const mark of all("svg .mark[data-variant]")) mark.onclick = () => choose("variant", state.get("variant") === mark.dataset.variant ? "" : mark.dataset.variant);
}

function arrive() {
  const [place, chosen] = location.hash.slice(1).split("?");
  for (const field of [...state.keys()]) state.delete(field);
  for (const [field, value] of new URLSearchParams(chosen)) state.set(field, value);
  const target = place && document.getElementById(decodeURIComponent(place));
  if (target) {
    for (let fold = target.closest("details") ?? target.querySelector(":scope > details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    target.scrollIntoView();
  }
  apply();
}

function stops() {
  for (const box of all(".scroll, pre[tabindex]")) box.tabIndex = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight ? 0 : -1;
}

furnish();
arrive();
stops();
addEventListener("hashchange", arrive);
addEventListener("resize", stops);
document.addEventListener("toggle", stops, true);
addEventListener("beforeprint", () => all("details").forEach(fold => { fold.open = true; }));
