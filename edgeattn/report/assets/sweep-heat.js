// Attention by backbone: per cent above the plain model, a map for each precision and runtime.

// Characters of a backbone's name that stand above its column.
const LONGEST = 24;
const HEATS = [0, 2, 5, 10, 20, 50, 100];
const heatOf = (percent) => `heat-${HEATS.filter((least) => percent >= least).length}`;

function heatLegend() {
  const names = ["less than plain", ...HEATS.map((least, at) => (HEATS[at + 1] ? `${least} to ${HEATS[at + 1]}` : `${least} and more`))];
  return el("ul", { class: "legend heat-legend" }, ...names.map((name, at) =>
    el("li", {}, el("span", { class: `heat heat-${at}`, "aria-hidden": true }), name)), el("li", {}, "% above plain; ≈ where the interval holds 0"));
}

// What may differ between the rows of one place beside the model: in maps, and in lines of a map.
const MAPS = ["precision", "runtime", "target", "opset", "options"];

function heatMaps(host, rows) {
  const known = rows.filter((row) => figure("above", row) !== null);
  const by = (facets) => (row) => facets.map((facet) => DATA.facets[facet].codes[row]).join();
  const ways = MAPS.filter((facet) => new Set(known.map((row) => DATA.facets[facet].codes[row])).size > 1);
  const lines = ["attention", ...["at"].filter(varied)];
  const models = [...new Set(known.map((row) => DATA.facets.model.codes[row]))].sort((a, b) => a - b);
  // Maps have one order of lines, so that they can be set beside each other.
  const order = [...grouped(known, by(lines))].map(([line, of]) => ({ line, middle: median(of.map((row) => figure("above", row))) }))
    .sort((a, b) => a.middle - b.middle).map(({ line }) => line);
  const maps = [...grouped(known, by(ways)).values()].map((some) => {
    const attended = grouped(some, by(lines));
    const title = ways.map((facet) => brief(named(facet, some[0]))).join(", ");
    return heatMap(title, order.filter((line) => attended.has(line)).map((line) => attended.get(line)), models, lines);
  });
  host.replaceChildren(...(maps.length ? [el("h3", {}, "Attention by backbone"), heatLegend(), el("div", { class: "maps" }, ...maps)] : []));
}

function heatMap(title, attended, models, lines) {
  const label = `Per cent above the plain model${title && `, ${title}`}`;
  const line = (of) => {
    const cells = grouped(of, (row) => DATA.facets.model.codes[row]);
    return el("tr", {},
      el("th", { scope: "row", title: named("attention", of[0]) }, brief(named("attention", of[0])), lines.length > 1 ? el("span", { class: "of" }, ` ${brief(named("at", of[0]))}`) : null),
      ...models.map((model) => (cells.has(model) ? heatCell(cells.get(model)) : el("td", { class: "heat" }))));
  };
  const names = models.map((model) => DATA.facets.model.names[model]);
  const long = attended.map(([row]) => brief(named("attention", row)).length + (lines.length > 1 ? brief(named("at", row)).length + 1 : 0));
  const table = el("table", { class: "heat-map" });
  table.append(
    ...(title ? [el("caption", {}, title)] : []),
    columnsOf(table, [0.88 * Math.max(8, ...long) + 2, ...names.map((name) => Math.max(8, 0.8 * brief(name, LONGEST).length + 2))]),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "attention"),
      ...names.map((name) => el("th", { scope: "col", title: name }, brief(name, LONGEST))))),
    el("tbody", {}, ...attended.map(line)));
  return el("div", { class: "scrolled", role: "region", "aria-label": label, tabindex: 0 }, table);
}

// Rows that nothing here tells apart, of other versions say, share a cell: it has their median.
function heatCell(some) {
  const above = median(some.map((row) => figure("above", row)));
  const isOpen = some.every((row) => figure("aboveLow", row) !== null && figure("aboveLow", row) < 0 && figure("aboveHigh", row) > 0);
  const more = some.length > 1 ? ` (${some.length})` : "";
  return el("td", { class: `heat ${heatOf(above)}`, "data-of": some[0] }, `${isOpen ? "≈ " : ""}${signed(above)}${more}`);
}

// What a cell says, and that it is clicked, is listened to in one place: of cells there are thousands.
function startHeats(host, choose) {
  const rowAt = (cell) => (cell?.dataset.of === undefined ? null : Number(cell.dataset.of));
  saysAt(host, (left, top) => {
    const row = rowAt(document.elementFromPoint(left, top)?.closest("td"));
    return row === null ? null : [titled(row), factsOf(row)];
  });
  host.addEventListener("click", (event) => {
    const row = rowAt(event.target.closest("td"));
    if (row !== null) choose(row);
  });
}

function median(values) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
