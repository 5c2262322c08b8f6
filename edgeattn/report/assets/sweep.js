// Filters, and what is drawn of the rows that they leave: the table at once, pictures in sight.

const places = [...document.querySelectorAll(".place")];
const filters = document.getElementById("filters");
const said = el("output", { "aria-live": "polite" });
const colour = el("select", {});
const LONGEST_MS = 30;
const FIRST_MS = 200;

const table = filters && sweepTable(document.getElementById("rows"), choose);
const detail = el("section", { class: "detail", hidden: "", "aria-label": "The row that was chosen" });

function choose(row) {
  drawDetail(detail, row);
  table.mark(row);
  detail.scrollIntoView({ block: "nearest" });
  detail.querySelector("h3").focus({ preventScroll: true });
}

function update() {
  const shown = shownRows();
  table.show(shown);
  said.textContent = `${shown.length.toLocaleString("en")} of ${DATA.count.toLocaleString("en")} rows`;
  const byPlace = grouped(shown, (row) => DATA.place[row]);
  places.forEach((place, at) => { place.hidden = !byPlace.has(at); });
  for (const part of parts) part.rows = byPlace.get(part.place) ?? [];
  drawSoon();
}

// The pictures of a place: of what rows each is, and of what rows it was drawn.
const parts = places.flatMap((place, at) => [...place.querySelectorAll(".front .canvas, .heats, .site-costs")]
  .map((host) => ({ host, place: at, rows: [], drawn: null, isSeen: false })));
const partOf = new Map(parts.map((part) => [part.host, part]));
let isWatched = false;
const sight = new IntersectionObserver((entries) => {
  isWatched = true;
  for (const { target, isIntersecting } of entries) partOf.get(target).isSeen = isIntersecting;
  drawSoon();
}, { rootMargin: "200px" });

const isSame = (a, b) => a !== null && a.length === b.length && a.every((row, at) => row === b[at]);

const next = () => parts.find(({ isSeen, rows, drawn }) => isSeen && rows.length && !isSame(drawn, rows));

// Draws what is in sight and not of the rows that are shown, after the table; no frame is held up long.
let isDrawing = false;
function drawSoon() {
  document.getElementById("places").setAttribute("aria-busy", !isWatched || Boolean(next()));
  if (isDrawing || !next()) return;
  isDrawing = true;
  requestAnimationFrame(() => requestAnimationFrame(() => {
    isDrawing = false;
    const until = performance.now() + LONGEST_MS;
    for (let part = next(); part && performance.now() < until; part = next()) drawPart(part);
    drawSoon();
  }));
}

function drawPart(part) {
  const { host, rows } = part;
  part.drawn = rows;
  if (host.matches(".heats")) heatMaps(host, rows);
  else if (host.matches(".site-costs")) siteCosts(host, rows);
  else frontPicture(host, host.closest("figure").dataset.measure, rows, colour.value || "model", choose)(Math.round(host.clientWidth));
}

// What was not in sight yet is on paper too.
addEventListener("beforeprint", () => {
  for (const part of parts) if (part.rows.length && !isSame(part.drawn, part.rows)) drawPart(part);
});

function redraw() {
  for (const part of parts) part.drawn = null;
  drawSoon();
}

function facetFilter(facet) {
  const { names } = DATA.facets[facet];
  const picked = asked.picked[facet];
  const summary = el("summary", {}, FACETS[facet]);
  const boxes = names.map((name, code) => {
    const box = el("input", { type: "checkbox" });
    box.addEventListener("change", () => {
      if (box.checked) picked.add(code);
      else picked.delete(code);
      summary.textContent = picked.size ? `${FACETS[facet]}: ${picked.size} of ${names.length}` : FACETS[facet];
      update();
    });
    return el("label", {}, box, name || "none");
  });
  return el("details", { class: "facet" }, summary, el("div", { class: "choices" }, ...boxes));
}

function limitFilter(name, label, unit) {
  const input = el("input", { type: "number", step: "any", inputmode: "decimal" });
  input.addEventListener("input", () => {
    asked.most[name] = input.value === "" ? null : Number(input.value);
    update();
  });
  return el("label", {}, label, input, unit);
}

function evidenceFilter() {
  const known = [...new Set(DATA.places.map((place) => place.evidence))];
  if (known.length < 2) return null;
  return el("fieldset", { class: "evidences" }, el("legend", { class: "unseen" }, "Evidence"), ...known.map((evidence) => {
    const input = el("input", { type: "radio", name: "evidence", checked: evidence === asked.evidence ? "" : null });
    input.addEventListener("change", () => {
      asked.evidence = evidence;
      table.head();
      update();
    });
    return el("label", {}, input, evidence);
  }));
}

function startFilters() {
  const search = el("input", { type: "search", spellcheck: "false", autocomplete: "off", placeholder: "model, attention, device" });
  search.addEventListener("input", () => {
    asked.words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    update();
  });
  const facets = Object.keys(FACETS).filter(varied);
  colour.append(...facets.map((facet) => el("option", { value: facet }, FACETS[facet])));
  colour.addEventListener("change", redraw);
  filters.replaceChildren(...[
    evidenceFilter(), el("label", {}, "Find", search), ...facets.map(facetFilter),
    limitFilter("latency", "latency at most", "ms"), limitFilter("above", "above plain at most", "%"),
    facets.length > 1 ? el("label", {}, "Colours by", colour) : null, said,
  ].filter(Boolean));
  filters.hidden = false;
  // A list that is open closes when something else is meant.
  document.addEventListener("click", (event) => {
    for (const open of filters.querySelectorAll("details[open]")) if (!open.contains(event.target)) open.open = false;
  });
  filters.addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && event.target.closest("details[open]");
    if (!open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });
}

function start() {
  const same = Object.keys(FACETS).filter((facet) => !varied(facet))
    .map((facet) => [FACETS[facet], DATA.facets[facet].names.find(Boolean)]).filter(([, name]) => name)
    .map(([title, name]) => `${title} ${name}`);
  const host = document.getElementById("rows");
  if (same.length) host.before(el("p", { class: "note" }, `The same for all: ${same.join(", ")}.`));
  host.after(detail);
  startTips();
  startFilters();
  table.head();
  update();
  for (const { host } of parts) {
    if (host.matches(".heats")) startHeats(host, choose);
    sight.observe(host);
  }
  // At first the browser says of none that it is in sight: what takes a picture of the page does not wait for that.
  const until = performance.now() + FIRST_MS;
  for (const part of parts) if (part.rows.length && performance.now() < until) drawPart(part);
  let wide = document.body.clientWidth;
  new ResizeObserver(() => {
    if (document.body.clientWidth === wide) return;
    wide = document.body.clientWidth;
    redraw();
  }).observe(document.body);
}

if (table) start();
document.documentElement.dataset.ready = Math.round(performance.now());
