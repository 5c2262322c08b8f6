// Time by kind of work: a bar for each row, the backbone's parts first, then those of its sites.

function kindsPicture(host) {
  const groups = DATA.bars;
  const present = KINDS.filter((kind) =>
    groups.some(({ bars }) => bars.some(({ parts }) => parts.some(([name]) => name === kind.name))));

  return (width) => {
    const marks = [
      ["sites", svg("rect", { class: "site-line", y: 8, width: 12, height: 3 })],
      ["latency, end to end", svg("line", { class: "latency-mark", x1: 6, x2: 6, y1: 0, y2: 12 })],
    ].map(([title, sign]) => el("li", {}, svg("svg", { viewBox: "0 0 12 12", "aria-hidden": true }, sign), title));
    host.replaceChildren(legend(present, ...marks), ...groups.flatMap(({ evidence, bars }) => [
      ...(groups.length > 1 ? [el("p", {}, el("span", { class: `badge ${evidence}` }, evidence))] : []),
      drawBars(bars, width, `${host.dataset.label}, ${evidence}`),
    ]));
  };
}

function drawBars(bars, width, label) {
  const isWide = width >= 620;
  const left = isWide ? Math.min(230, 24 + 7 * Math.max(...bars.map((bar) => bar.label.length))) : 0;
  const pitch = isWide ? 30 : 46;
  const most = Math.max(...bars.map((bar) => Math.max(bar.latency, bar.interval?.[1] ?? 0, total(bar))));
  const scale = (width - left - 88) / most;
  const items = [];
  const shapes = bars.map((bar, place) => {
    const top = place * pitch + (isWide ? 4 : 20);
    const room = { x: (us) => left + us * scale, top, height: 20 };
    const parts = drawParts(bar, room);
    items.push(...parts);
    const name = fitted(bar.label, isWide ? left - 12 : width);
    return svg("g", { role: "group", "aria-label": bar.label },
      text(0, isWide ? top + 14 : top - 6, name), ...parts, ...drawSites(bar, room),
      ...drawLatency(bar, room), ...drawSum(bar, room));
  });
  const picture = sheet(width, bars.length * pitch + 4, { role: "group", "aria-label": label }, ...shapes);
  walked(picture, items);
  return picture;
}

const total = (bar) => bar.parts.reduce((sum, [, , us]) => sum + us, 0);
const ofSites = (bar) => bar.parts.reduce((sum, [, isSite, us]) => sum + (isSite ? us : 0), 0);

function drawParts(bar, { x, top, height }) {
  let us = 0;
  return bar.parts.map(([name, isSite, own], place) => {
    // A seam parts neighbours, and a wider one the backbone from its sites.
    const isFirstOfSites = isSite && !bar.parts[place - 1]?.[1];
    const [from, wide] = [x(us), x(us + own) - x(us)];
    const seam = Math.min(isFirstOfSites ? 3 : 1, wide / 2);
    us += own;
    const item = svg("g", { role: "img" }, svg("rect", {
      class: `part kind-${name}`, x: from + seam, y: top, height, width: Math.max(wide - seam, 0.5),
    }));
    return says(item, `${bar.label}: ${kindNamed(name).title}`, [
      ["of", isSite ? "sites" : "the backbone"],
      ["time", `${time(own)}, ${percent(own / total(bar))}`],
    ]);
  });
}

function drawSites(bar, { x, top, height }) {
  const [from, to] = [x(total(bar) - ofSites(bar)) + 3, x(total(bar))];
  if (!ofSites(bar)) return [];
  return [svg("rect", { class: "site-line", x: from, y: top + height + 1, width: Math.max(to - from, 1), height: 3 })];
}

function drawLatency(bar, { x, top, height }) {
  const at = x(bar.latency);
  const shapes = [svg("line", { class: "latency-mark", x1: at, x2: at, y1: top - 3, y2: top + height + 3 })];
  if (bar.interval) {
    const [low, high] = bar.interval.map(x);
    const y = top + height / 2;
    const whisker = `M${low},${y - 4}V${y + 4}M${low},${y}H${high}M${high},${y - 4}V${y + 4}`;
    shapes.push(svg("path", { class: "interval-halo", d: whisker }), svg("path", { class: "interval", d: whisker }));
  }
  return shapes;
}

// The sum stands at the bar's end, or after what would cross it; below it, how far the model is
// predicted to lie above the first.
function drawSum(bar, { x, top }) {
  const end = x(total(bar));
  const mark = bar.interval ? x(bar.interval[1]) : x(bar.latency);
  const at = bar.interval || mark < end + 60 ? Math.max(end, mark) : end;
  const sum = text(at + 8, top + 14, `Σ ${time(total(bar))}`, { class: "strong" });
  return bar.above ? [sum, text(at + 8, top + 28, bar.above)] : [sum];
}
