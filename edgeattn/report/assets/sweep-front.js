// Latency against parameters, and against MACs: a mark for each row, and what nothing beats.

// Series of a facet: by place, a colour and a shape that no other of the first 49 has both of.
function seriesOf(facet) {
  return DATA.facets[facet].names.map((name, at) => {
    const shape = KINDS[(at + Math.floor(at / KINDS.length)) % KINDS.length];
    return { name, kind: { name: KINDS[at % KINDS.length].name, corners: shape.corners } };
  });
}

// The rows that nothing beats in latency and in a measure at once. As edgeattn/report/sweep.py has it.
function frontOf(rows, values) {
  const compared = rows.some((row) => !isPlain(row)) ? rows.filter((row) => !isPlain(row)) : rows;
  const latency = (row) => figure("latency", row);
  let [best, bestAt] = [Infinity, -Infinity];
  return [...compared].sort((a, b) => values[a] - values[b] || latency(a) - latency(b)).filter((row) => {
    const isBest = latency(row) < best || (latency(row) === best && values[row] === bestAt);
    if (isBest) [best, bestAt] = [latency(row), values[row]];
    return isBest;
  });
}

function ticks(low, high) {
  const steps = high / low > 300 ? [1] : [1, 2, 5];
  const found = [];
  for (let tick = decade(low); tick <= high; tick *= 10) {
    found.push(...steps.map((step) => step * tick).filter((one) => one >= low && one <= high));
  }
  if (found.length > 1) return found;
  const step = decade(high - low) * ((high - low) / decade(high - low) < 2 ? 0.5 : 1);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, at) => step * (first + at));
}

// The outline of a mark, as a part of a path: of thousands, one element draws them all.
function outline({ corners }, x, y, radius) {
  const at = (number) => number.toFixed(1);
  if (!corners.length) {
    return `M${at(x - radius)},${at(y)}a${radius},${radius} 0 1,0 ${2 * radius},0a${radius},${radius} 0 1,0 ${-2 * radius},0z`;
  }
  return `M${corners.map(([dx, dy]) => `${at(x + radius * dx)},${at(y + radius * dy)}`).join("L")}z`;
}

// Marks of all series; of those that would cover each other to the pixel, one.
function marks(points, series, radius, classes = "") {
  const parts = new Map();
  const seen = new Set();
  for (const { x, y, at } of points) {
    const place = (at * 8192 + Math.round(x)) * 8192 + Math.round(y);
    if (seen.has(place)) continue;
    seen.add(place);
    if (!parts.has(at)) parts.set(at, []);
    parts.get(at).push(outline(series[at].kind, x, y, radius));
  }
  return [...parts].map(([at, outlines]) =>
    svg("path", { class: `mark-of kind-${series[at].kind.name} ${classes}`, d: outlines.join("") }));
}

function seriesLegend(series, points) {
  const used = [...new Set(points.map(({ at }) => at))].sort((a, b) => a - b);
  return el("ul", { class: "legend" }, ...used.map((at) =>
    el("li", {}, svg("svg", { viewBox: "0 0 12 12", "aria-hidden": true }, mark(series[at].kind, 6, 6, 4)), brief(series[at].name))));
}

// Axes of a picture whose both sides are logarithmic, with room around what is shown.
function logSheet(width, xs, ys, { titleX, titleY, writeX, writeY }) {
  const height = Math.min(400, Math.max(270, width * 0.62));
  const [left, right, top, bottom] = [58, width - 10, 22, height - 40];
  const around = (values) => {
    const low = values.reduce((a, b) => Math.min(a, b));
    const high = values.reduce((a, b) => Math.max(a, b));
    const room = (high / low) ** 0.06 * 1.03;
    return [low / room, high * room];
  };
  const [[lowX, highX], [lowY, highY]] = [around(xs), around(ys)];
  const x = log(lowX, highX, left, right);
  const y = log(lowY, highY, bottom, top);
  const shapes = [svg("path", { class: "rule", d: `M${left},${top}V${bottom}H${right}` })];
  let end = -Infinity;
  for (const tick of ticks(lowX, highX)) {
    const said = writeX(tick);
    shapes.push(svg("line", { class: "axis", x1: x(tick), x2: x(tick), y1: top, y2: bottom }));
    if (x(tick) - 3.5 * said.length < end || x(tick) + 3.5 * said.length > width) continue;
    shapes.push(text(x(tick), bottom + 16, said, { class: "soft", "text-anchor": "middle" }));
    end = x(tick) + 3.5 * said.length + 6;
  }
  for (const tick of ticks(lowY, highY)) {
    shapes.push(svg("line", { class: "axis", x1: left, x2: right, y1: y(tick), y2: y(tick) }));
    shapes.push(text(left - 6, y(tick) + 4, writeY(tick), { class: "soft", "text-anchor": "end" }));
  }
  shapes.push(text(right, height - 6, titleX, { class: "soft", "text-anchor": "end" }));
  shapes.push(text(4, 12, titleY, { class: "soft" }));
  return { height, x, y, left, right, top, bottom, shapes };
}

const MEASURE_TITLES = { params: "parameters", macs: "MACs" };

function frontPicture(host, measure, rows, facet, choose) {
  const values = DATA.figures[measure] ?? [];
  const known = rows.filter((row) => values[row] > 0 && figure("latency", row) > 0);
  if (!known.length) {
    return () => host.replaceChildren(el("p", { class: "note" }, `The ${MEASURE_TITLES[measure]} of no row are known.`));
  }
  const series = seriesOf(facet);
  const front = frontOf(known, values);
  const onFront = new Set(front);
  const bySeries = grouped(known, (row) => DATA.facets[facet].codes[row]);

  return (width) => {
    const sheetOf = logSheet(width, known.map((row) => values[row]), known.map((row) => figure("latency", row)), {
      titleX: MEASURE_TITLES[measure], titleY: "latency", writeX: count, writeY: milliseconds,
    });
    const { x, y, right, height } = sheetOf;
    const pointOf = (row) => ({ row, at: DATA.facets[facet].codes[row], x: x(values[row]), y: y(figure("latency", row)) });
    const points = known.map(pointOf);
    const line = (some, classes) => {
      const [first, ...others] = some.map(pointOf);
      return svg("path", { class: `front-line ${classes}`, d: `M${first.x},${first.y}${others.map((one) => `H${one.x}V${one.y}`).join("")}${some === front ? `H${right}` : ""}` });
    };
    const thin = bySeries.size > 1 && bySeries.size <= 10
      ? [...bySeries].map(([at, some]) => line(frontOf(some, values), `thin kind-${series[at].kind.name}`)) : [];
    const dots = front.map((row) => {
      const point = pointOf(row);
      const dot = svg("g", { class: "dot", role: "img" }, mark(series[point.at].kind, point.x, point.y, 5.5, { class: "on-front" }));
      return says(dot, titled(row), factsOf(row));
    });
    const plain = points.filter(({ row }) => isPlain(row));
    const picture = sheet(width, height, { role: "group", "aria-label": host.dataset.label },
      ...sheetOf.shapes, ...thin,
      ...marks(points.filter(({ row }) => !isPlain(row) && !onFront.has(row)), series, 3, "many"),
      ...marks(plain, series, 4.5, "hollow"),
      line(front, ""), ...dots, ...labels(front.map(pointOf), width));
    const nearest = nearestOf(points, picture, width);
    saysAt(picture, (left, top) => {
      const row = nearest(left, top);
      return row === null ? null : [titled(row), factsOf(row)];
    });
    picture.addEventListener("click", (event) => {
      const row = nearest(event.clientX, event.clientY);
      if (row !== null) choose(row);
    });
    picture.addEventListener("keydown", (event) => {
      const at = dots.indexOf(event.target);
      if (event.key === "Enter" && at >= 0) choose(front[at]);
    });
    host.replaceChildren(seriesLegend(series, points), picture);
    walked(picture, dots);
  };
}

// Finds what lies nearest to a place on the screen, and near enough to be meant.
function nearestOf(points, picture, width) {
  return (left, top) => {
    const box = picture.getBoundingClientRect();
    const scale = width / box.width;
    const [x, y] = [(left - box.left) * scale, (top - box.top) * scale];
    let [best, found] = [14 ** 2, null];
    for (const point of points) {
      const far = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (far < best) [best, found] = [far, point.row];
    }
    return found;
  };
}

// Names of what is on the front, where there is room for them.
function labels(points, width) {
  const taken = [];
  const shapes = [];
  for (const { row, x, y } of points) {
    const said = brief(named("attention", row), 24);
    const long = 6.6 * said.length;
    const box = [Math.min(x + 8, width - long), y - 16];
    if (taken.some(([left, top, size]) => box[0] < left + size && left < box[0] + long && Math.abs(top - box[1]) < 13)) continue;
    taken.push([...box, long]);
    shapes.push(text(box[0], box[1] + 11, said, { class: "strong haloed" }));
  }
  return shapes;
}
