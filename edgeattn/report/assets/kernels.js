// The table of kernels: all of them are searched and sorted; so many are shown at once.

// The order of page_data.py.
const KERNEL = {
  name: 0, op: 1, kind: 2, owner: 3, site: 4, status: 5, cause: 6, us: 7, interval: 8, bytes: 9,
  macs: 10, nodes: 11, precision: 12, bound: 13, atSite: 14,
};
const AT_ONCE = 40;
const MORE = 250;

function kernelTable(host, row) {
  const isPredicted = row.evidence === "predicted";
  const columns = kernelColumns(row, isPredicted);
  const all = row.kernels.map((kernel, place) => ({
    kernel, place,
    words: [KERNEL.name, KERNEL.op, KERNEL.owner, KERNEL.site, KERNEL.status, KERNEL.precision, KERNEL.bound]
      .map((field) => string(kernel[field]))
      .concat(KINDS[kernel[KERNEL.kind]].title, kernel[KERNEL.nodes].map(string)).join("\n").toLowerCase(),
  }));
  let sorted = columns.find((column) => column.name === "time");
  let isDown = true;
  let most = AT_ONCE;

  const search = el("input", { type: "search", spellcheck: "false", autocomplete: "off", placeholder: "name, kind, module, node" });
  const only = el("input", { type: "checkbox" });
  const said = el("output", { "aria-live": "polite" });
  const more = el("button", { type: "button", class: "more" });
  const body = el("tbody");
  const heads = columns.map((column) => {
    const button = el("button", { type: "button", title: column.title ?? null }, column.name);
    button.addEventListener("click", () => {
      isDown = sorted === column ? !isDown : column.isNumber;
      sorted = column;
      show(AT_ONCE);
    });
    return el("th", { scope: "col", class: column.isNumber ? null : "text" }, button);
  });

  function show(number) {
    most = number;
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = all.filter(({ kernel, words: own }) =>
      (!only.checked || kernel[KERNEL.atSite]) && words.every((word) => own.includes(word)));
    const sign = isDown ? -1 : 1;
    const keys = new Map(found.map((one) => [one, sorted.key(one)]));
    found.sort((a, b) => sign * compared(keys.get(a), keys.get(b)) || a.place - b.place);
    const shown = found.slice(0, most);
    body.replaceChildren(...shown.map((one) => drawKernel(one, columns)));
    columns.forEach((column, place) => {
      if (column === sorted) heads[place].setAttribute("aria-sort", isDown ? "descending" : "ascending");
      else heads[place].removeAttribute("aria-sort");
    });
    const us = found.reduce((sum, { kernel }) => sum + kernel[KERNEL.us], 0);
    said.textContent = `${found.length} of ${all.length} kernels, ${time(us)}, ${percent(us / row.total)}`;
    more.hidden = shown.length === found.length;
    more.textContent = `Show ${Math.min(MORE, found.length - shown.length)} more of ${found.length}`;
  }

  search.addEventListener("input", () => show(AT_ONCE));
  only.addEventListener("change", () => show(AT_ONCE));
  more.addEventListener("click", () => {
    const before = most;
    show(most + MORE);
    body.children[before].querySelector("th").focus();
  });
  const hasSites = all.some(({ kernel }) => kernel[KERNEL.atSite]);
  host.replaceChildren(
    el("div", { class: "find", role: "search" }, el("label", {}, "Find", search),
      hasSites ? el("label", {}, only, "sites only") : null, said),
    el("div", { class: "scrolled", role: "region", "aria-label": "Kernels", tabindex: 0 },
      el("table", { class: "kernel-table" }, el("thead", {}, el("tr", {}, ...heads)), body)),
    more);
  host.hidden = false;
  show(AT_ONCE);
}

function kernelColumns(row, isPredicted) {
  const field = (name) => ({ kernel }) => kernel[KERNEL[name]];
  const named = (name) => ({ kernel }) => string(kernel[KERNEL[name]]);
  const interval = {
    name: "interval", isNumber: true, key: ({ kernel }) => kernel[KERNEL.interval]?.[1] ?? 0,
    write: ({ kernel }) => kernel[KERNEL.interval]?.map(time).join(" to ") ?? "",
  };
  return [
    { name: "kernel", key: named("name"), write: named("name") },
    { name: "kind", key: field("kind"), write: kindCell },
    { name: "owner", key: named("owner"), write: ownerCell },
    { name: "whose", title: "owned, shared or unattributable", key: named("status"), write: named("status") },
    { name: "time", isNumber: true, key: field("us"), write: ({ kernel }) => time(kernel[KERNEL.us]) },
    ...(isPredicted ? [interval, { name: "held back by", key: named("bound"), write: named("bound") }] : []),
    { name: "of all", isNumber: true, key: field("us"), write: ({ kernel }) => percent(kernel[KERNEL.us] / row.total) },
    { name: "bytes", isNumber: true, key: field("bytes"), write: ({ kernel }) => size(kernel[KERNEL.bytes]) },
    { name: "MACs", isNumber: true, key: field("macs"), write: ({ kernel }) => count(kernel[KERNEL.macs]) },
    { name: "nodes", key: ({ kernel }) => kernel[KERNEL.nodes].length, write: nodesCell },
  ];
}

function compared(a, b) {
  if (a === null || b === null) return (a !== null) - (b !== null);
  return typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
}

function kindCell({ kernel }) {
  const kind = KINDS[kernel[KERNEL.kind]];
  return [el("span", { class: `swatch kind-${kind.name}` }), kind.name];
}

function ownerCell({ kernel }) {
  const cause = string(kernel[KERNEL.cause]);
  const owner = el("span", { class: "owner" }, string(kernel[KERNEL.owner]) || "–");
  return cause ? [owner, el("span", { class: "of" }, `, charged by ${cause}`)] : [owner];
}

function nodesCell({ kernel }) {
  const nodes = kernel[KERNEL.nodes].map(string);
  if (nodes.length < 2) return nodes[0] ?? "none: a copy";
  return [el("details", {}, el("summary", {}, `${nodes.length} nodes`), ...nodes.map((node) => el("div", {}, node)))];
}

function drawKernel(one, columns) {
  const cells = columns.map((column, place) => {
    const isName = ["kernel", "owner", "nodes"].includes(column.name);
    const classes = [isName ? "name" : "", column.isNumber ? "" : "text"].join(" ").trim();
    const attributes = { class: classes || null };
    const content = [column.write(one)].flat();
    return place ? el("td", attributes, ...content) : el("th", { scope: "row", tabindex: -1, ...attributes }, ...content);
  });
  return el("tr", { class: one.kernel[KERNEL.atSite] ? "site" : null }, ...cells);
}
