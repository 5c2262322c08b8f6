// The table of rows: all of them can be scrolled to, and only those in sight are elements.

const AROUND = 8;
// Characters that a column has at most.
const WIDEST = 28;

// Columns of a table, so many characters wide each: it is laid out without a look at its cells.
function columnsOf(table, wide) {
  table.style.width = `${wide.reduce((sum, one) => sum + one, 0)}ch`;
  return el("colgroup", {}, ...wide.map((one) => {
    const col = el("col");
    col.style.width = `${one}ch`;
    return col;
  }));
}

function tableColumns() {
  const facet = (name) => ({
    name: FACETS[name], isText: true, key: (row) => DATA.facets[name].codes[row], write: (row) => brief(named(name, row), WIDEST),
    say: (row) => named(name, row), wide: Math.max(...DATA.facets[name].names.map((one) => one.length)),
  });
  const number = (name, title, write, more = {}) => ({
    name: title, figure: name, key: (row) => figure(name, row),
    write: (row) => (figure(name, row) === null ? "" : write(figure(name, row))), wide: 7, ...more,
  });
  const between = (low, high, title, write) => ({
    name: title, figure: low, key: (row) => figure(high, row),
    write: (row) => (figure(low, row) === null ? "" : `${write(figure(low, row))} to ${write(figure(high, row))}`),
    wide: 2 + Math.max(0, ...Array.from({ length: Math.min(DATA.count, 500) }, (_, at) => at)
      .filter((row) => figure(low, row) !== null).map((row) => `${write(figure(low, row))} ${write(figure(high, row))}`.length)),
  });
  const isMeasured = asked.evidence === "measured";
  return [
    facet("model"), facet("attention"), ...Object.keys(FACETS).slice(2).filter(varied).map(facet),
    number("latency", "latency", milliseconds),
    between("low", "high", "interval, ms", three),
    number("aboveMs", "above plain", milliseconds),
    number("above", "%", signed, { strong: true }),
    between("aboveLow", "aboveHigh", isMeasured ? "95 % interval" : "90 %, predicted", signed),
    number("hiddenUs", "hidden cost", time, { title: "What its sites take that their MACs do not explain" }),
    number("sitesUs", "sites’ time", time),
    number("params", "params", count),
    number("macs", "MACs", count),
    number("elementOps", "element ops", count, { title: "Operations that FLOP counters skip" }),
    number("bytes", "bytes", size),
    number("kernels", "kernels", String),
    number("energy", "energy, mJ", three, { title: "Of an inference, idle power too" }),
    number("weights", "weights", size),
    number("activations", "activations", size, { title: "The most that they take at one time, as planned" }),
  ].filter((column) => column.isText || DATA.figures[column.figure]);
}

function sweepTable(host, choose) {
  const body = el("tbody");
  const table = el("table", { class: "sweep-table" });
  const scrolled = el("div", { class: "scrolled sweep-rows", role: "region", "aria-label": "Rows", tabindex: 0 }, table);
  host.replaceChildren(scrolled);
  host.hidden = false;
  let columns = [];
  let heads = [];
  let rows = [];
  let sorted = "%";
  let isDown = false;
  let chosen = null;
  let active = 0;
  let tall = 30;

  function head() {
    columns = tableColumns();
    heads = columns.map((column) => {
      const button = el("button", { type: "button", title: column.title }, column.name);
      button.addEventListener("click", () => {
        isDown = sorted === column.name ? !isDown : false;
        sorted = column.name;
        show(rows);
      });
      return el("th", { scope: "col", class: column.isText ? "text" : null }, button);
    });
    // The first has the mark of notes too.
    const wide = columns.map((column, place) =>
      Math.min(Math.max(column.wide, ...column.name.split(" ").map((word) => word.length + 1), 5), WIDEST) + (place ? 2 : 5));
    table.replaceChildren(columnsOf(table, wide), el("thead", {}, el("tr", { "aria-rowindex": 1 }, ...heads)), body);
  }

  function show(found) {
    const column = columns.find((one) => one.name === sorted) ?? columns[0];
    const sign = isDown ? -1 : 1;
    const keys = found.map((row) => column.key(row));
    rows = found.map((_, at) => at)
      .sort((a, b) => (keys[a] === null) - (keys[b] === null) || sign * (keys[a] - keys[b]) || found[a] - found[b])
      .map((at) => found[at]);
    heads.forEach((cell, at) => {
      if (columns[at] === column) cell.setAttribute("aria-sort", isDown ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    table.setAttribute("aria-rowcount", rows.length + 1);
    active = Math.max(0, rows.indexOf(chosen));
    scrolled.scrollTop = 0;
    draw();
  }

  function draw() {
    const first = Math.max(0, Math.floor(scrolled.scrollTop / tall) - AROUND);
    const last = Math.min(rows.length, Math.ceil((scrolled.scrollTop + 0.65 * innerHeight) / tall) + AROUND);
    const held = body.contains(document.activeElement) ? document.activeElement.dataset.at : null;
    const tab = Math.min(Math.max(active, first), last - 1);
    body.replaceChildren(space(first), ...rows.slice(first, last).map((row, at) => drawRow(row, first + at, tab)), space(rows.length - last));
    if (held !== null) (body.querySelector(`[data-at="${held}"]`) ?? scrolled).focus({ preventScroll: true });
    const real = body.children[1]?.getBoundingClientRect().height;
    if (last > first && real > 1 && Math.abs(real - tall) > 0.01) {
      tall = real;
      draw();
    }
  }

  function space(number) {
    const line = el("tr", { class: "space", "aria-hidden": "true" });
    line.style.height = `${number * tall}px`;
    return line;
  }

  function drawRow(row, at, tab) {
    const cells = columns.map((column, place) => {
      const said = column.write(row);
      if (!place) {
        const notes = NOTES.names[NOTES.codes[row]];
        return el("th", { scope: "row", title: column.say(row) },
          el("button", { type: "button", tabindex: at === tab ? 0 : -1, "data-at": at }, said),
          notes ? el("span", { class: "of", title: notes }, " *") : null);
      }
      return el("td", { class: column.isText ? "text" : null, title: column.say?.(row) },
        column.strong ? el("strong", {}, said) : said);
    });
    return el("tr", { class: row === chosen ? "chosen" : null, "aria-rowindex": at + 2 }, ...cells);
  }

  // A row that is not in sight is scrolled to before it takes the focus.
  function reach(at) {
    active = at;
    const top = at * tall;
    const seen = scrolled.clientHeight - 3 * tall;
    if (top < scrolled.scrollTop || top > scrolled.scrollTop + seen) scrolled.scrollTop = Math.max(0, top - seen / 2);
    draw();
    return body.querySelector(`[data-at="${at}"]`);
  }

  body.addEventListener("click", (event) => {
    const line = event.target.closest("tr[aria-rowindex]");
    if (line) choose(rows[Number(line.getAttribute("aria-rowindex")) - 2]);
  });
  body.addEventListener("keydown", (event) => {
    const at = Number(event.target.dataset.at ?? NaN);
    const page = Math.max(1, Math.floor(scrolled.clientHeight / tall) - 2);
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: rows.length - 1 };
    if (Number.isNaN(at) || !(event.key in steps)) return;
    event.preventDefault();
    reach(Math.min(Math.max(steps[event.key], 0), rows.length - 1))?.focus();
  });
  let waits = false;
  scrolled.addEventListener("scroll", () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => { waits = false; draw(); });
  });
  return {
    head, show,
    mark(row) {
      chosen = row;
      const at = rows.indexOf(row);
      if (at >= 0) reach(at);
      else draw();
    },
  };
}
