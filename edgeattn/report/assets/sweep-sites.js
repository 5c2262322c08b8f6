// What sites cost: read when it is asked for, since of a large sweep it is most of the page.

let SITES = null;

// The columns of a row's sites: where each is, and what it costs.
function siteColumns(row) {
  SITES ??= JSON.parse(document.getElementById("sites").textContent);
  const said = SITES.rows[row];
  if (!said) return null;
  const [paths, attentions, maps, elements, us, macsUs, bytes, launches] = said.map((at) => SITES.lists[at]);
  return { paths, attentions, maps, elements, us, macsUs, bytes, launches };
}

function sitesOf(row) {
  const columns = siteColumns(row);
  if (!columns) return [];
  const { paths, attentions, maps, elements, us, macsUs, bytes, launches } = columns;
  return paths.map((path, at) => ({
    path: SITES.strings[path], attention: SITES.strings[attentions[at]], map: SITES.strings[maps[at]],
    elements: elements[at], us: us[at], macsUs: macsUs[at], hiddenUs: us[at] - macsUs[at],
    bytes: bytes[at], launches: launches[at],
  }));
}

const SITE_HEADS = ["map", "time", "MACs say", "hidden", "bytes", "launches"];

function costTable(label, first, heads, lines) {
  return el("div", { class: "scrolled", role: "region", "aria-label": label, tabindex: 0 },
    el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, first), ...heads.map((name) => el("th", { scope: "col" }, name)),
        el("th", { scope: "col" }, el("span", { class: "unseen" }, "as a bar")))),
      el("tbody", {}, ...lines)));
}

function siteBar(part) {
  return el("td", { class: "pair" }, svg("svg", { class: "cell-bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": true },
    svg("rect", { class: "ground", width: 100, height: 8 }), svg("rect", { width: Math.max(0, Math.min(100, 100 * part)), height: 8 })));
}

// One row's facts, and its sites.
function drawDetail(host, row) {
  const facts = [
    ...Object.keys(FACETS).map((facet) => [FACETS[facet], named(facet, row)]),
    ...tableColumns().filter((column) => !column.isText).map((column) => [column.name, column.write(row)]),
    ["notes", NOTES.names[NOTES.codes[row]]], ["versions", DATA.versions.names[DATA.versions.codes[row]]], ["key", DATA.keys[row]],
  ].filter(([, said]) => said);
  const sites = sitesOf(row);
  const most = Math.max(...sites.map((site) => site.hiddenUs), 0);
  const lines = sites.map((site) => el("tr", {},
    el("th", { scope: "row" }, site.path, el("span", { class: "of" }, ` ${site.attention}`)),
    ...[site.map, time(site.us), site.macsUs === null ? "-" : time(site.macsUs)].map((said) => el("td", {}, said)),
    el("td", {}, el("strong", {}, time(site.hiddenUs))),
    ...[size(site.bytes), String(site.launches)].map((said) => el("td", {}, said)), siteBar(site.hiddenUs / most)));
  host.replaceChildren(
    el("h3", { tabindex: -1 }, `${titled(row)} on ${named("device", row)} `, el("span", { class: `badge ${evidenceOf(row)}` }, evidenceOf(row))),
    el("dl", { class: "facts" }, ...facts.map(([name, said]) => el("div", {}, el("dt", {}, name), el("dd", {}, said)))),
    sites.length ? costTable("Hidden cost by site", "site", SITE_HEADS, lines) : null);
  host.hidden = false;
}

// All sites of rows, by attention, as columns: there are many.
function sitesByAttention(rows) {
  const groups = new Map();
  for (const row of rows) {
    const columns = siteColumns(row);
    if (!columns) continue;
    const code = DATA.facets.attention.codes[row];
    if (!groups.has(code)) groups.set(code, { code, us: [], macsUs: [], hiddenUs: [], bytes: [], launches: [], elements: [], rows: [], places: [] });
    const group = groups.get(code);
    columns.us.forEach((us, at) => {
      group.us.push(us);
      group.hiddenUs.push(us - columns.macsUs[at]);
      if (columns.macsUs[at] !== null) group.macsUs.push(columns.macsUs[at]);
      if (columns.bytes[at] !== null) group.bytes.push(columns.bytes[at]);
      group.launches.push(columns.launches[at]);
      group.elements.push(columns.elements[at]);
      group.rows.push(row);
      group.places.push(at);
    });
  }
  return [...groups.values()].map((group) => ({ ...group, hidden: median(group.hiddenUs) })).sort((a, b) => a.hidden - b.hidden);
}

// The hidden cost of a site, by attention, over all rows that are shown.
function siteCosts(host, rows) {
  const groups = sitesByAttention(rows);
  if (!groups.length) {
    host.replaceChildren();
    return;
  }
  const most = groups.at(-1).hidden;
  const middle = (values, write, otherwise) => (values.length ? write(median(values)) : otherwise);
  const extent = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  const lines = groups.map((group) => el("tr", {}, el("th", { scope: "row", title: DATA.facets.attention.names[group.code] }, brief(DATA.facets.attention.names[group.code])),
    ...[String(group.us.length), middle(group.us, time), middle(group.macsUs, time, "-")].map((said) => el("td", {}, said)),
    el("td", {}, el("strong", {}, time(group.hidden))),
    ...[extent(group.hiddenUs).map(time).join(" to "), middle(group.bytes, size, "?"), middle(group.launches, three)].map((said) => el("td", {}, said)),
    siteBar(group.hidden / most)));
  const canvas = el("div", { class: "canvas", "data-label": "Hidden cost of a site against the size of its map" });
  host.replaceChildren(
    el("h3", {}, "Hidden cost of a site"),
    el("p", { class: "note" }, "What a site’s kernels take that its MACs do not explain: of all sites of the rows that are shown, the median, and between the least and the most."),
    el("div", { class: "beside" },
      costTable("Hidden cost of a site, by attention", "attention", ["sites", "time", "MACs say", "hidden", "least to most", "bytes", "launches"], lines),
      el("figure", { class: "picture" }, canvas)));
  drawSites(canvas, groups);
}

// Each site by the size of its map; logarithms know no map whose size is not told, and no cost below 0.
function drawSites(canvas, groups) {
  const known = groups.flatMap(({ code, elements, hiddenUs, rows, places }) => elements
    .map((number, at) => [number, hiddenUs[at], code, rows[at], places[at]])
    .filter(([number, hidden]) => number > 0 && hidden > 0));
  if (!known.length) return;
  const series = seriesOf("attention");
  const width = Math.round(canvas.clientWidth);
  const { height, x, y, shapes } = logSheet(width, known.map(([number]) => number), known.map(([, hidden]) => hidden), {
    titleX: "elements of its map", titleY: "hidden cost of a site", writeX: count, writeY: time,
  });
  const points = known.map(([number, hidden, at, row, place]) => ({ row: [row, place], at, x: x(number), y: y(hidden) }));
  const picture = sheet(width, height, { role: "img", "aria-label": canvas.dataset.label }, ...shapes, ...marks(points, series, 3, "many"));
  const nearest = nearestOf(points, picture, width);
  saysAt(picture, (left, top) => {
    const found = nearest(left, top);
    if (!found) return null;
    const site = sitesOf(found[0])[found[1]];
    return [`${site.path}, ${titled(found[0])}`, [["map", site.map], ["time", time(site.us)], ["hidden", time(site.hiddenUs)], ["bytes", size(site.bytes)]]];
  });
  canvas.append(seriesLegend(series, points), picture);
}
