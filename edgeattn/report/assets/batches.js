// Images a second, and the latency of a run, by batch: a line for each model, a whisker for each interval.

function batchesPicture(host) {
  const evidence = host.closest("figure").dataset.row;
  const curves = DATA.curves
    .filter((curve) => curve.evidence === evidence)
    .map((curve, place) => ({ ...curve, kind: { ...KINDS[place % KINDS.length], title: curve.label } }));
  const panels = [
    { title: "images a second", figures: ([batch, , bounds, rate]) => [rate, bounds && bounds.map((ms) => 1e3 * batch / ms).reverse()], write: three },
    { title: "latency of a run", figures: ([, ms, bounds]) => [ms, bounds], write: (ms) => time(1e3 * ms) },
  ];

  return (width) => {
    const isWide = width >= 620;
    const each = isWide ? (width - 24) / 2 : width;
    const height = Math.min(280, Math.max(200, each * 0.55));
    const items = [];
    const drawn = panels.map((panel, place) =>
      svg("g", { transform: isWide ? `translate(${place * (each + 24)},0)` : `translate(0,${place * (height + 16)})` },
        ...drawByBatch(curves, panel, each, height, items)));
    const picture = sheet(width, isWide ? height : 2 * height + 16, { role: "group", "aria-label": host.dataset.label }, ...drawn);
    host.replaceChildren(legend(curves.map((curve) => curve.kind)), picture);
    walked(picture, items);
  };
}

function drawByBatch(curves, { title, figures, write }, width, height, items) {
  const all = curves.flatMap((curve) => curve.points);
  const batches = [...new Set(all.map(([batch]) => batch))].sort((a, b) => a - b);
  const most = Math.max(...all.map(figures).flatMap(([value, bounds]) => [value, bounds ? bounds[1] : 0]));
  const [left, right, top, bottom] = [62, width - 14, 24, height - 36];
  const steps = Math.log2(batches.at(-1) / batches[0]) || 1;
  const x = (batch) => left + 14 + (Math.log2(batch / batches[0]) / steps) * (right - left - 28);
  const y = (value) => bottom - (value / most) * (bottom - top);
  const shapes = [
    text(0, 12, title, { class: "soft" }),
    svg("path", { class: "rule", d: `M${left},${top}V${bottom}H${right}` }),
    text(right, height - 4, "batch", { class: "soft", "text-anchor": "end" }),
  ];
  for (const tick of ticksTo(most)) {
    shapes.push(svg("line", { class: "axis", x1: left, x2: right, y1: y(tick), y2: y(tick) }));
    shapes.push(text(left - 6, y(tick) + 4, write(tick), { class: "soft", "text-anchor": "end" }));
  }
  let last = -Infinity;
  for (const batch of batches) {
    if (x(batch) - last < 22) continue;
    last = x(batch);
    shapes.push(text(last, bottom + 16, String(batch), { class: "soft", "text-anchor": "middle" }));
  }
  for (const { kind, points } of curves) {
    const places = points.map((point) => [x(point[0]), y(figures(point)[0])]);
    shapes.push(svg("path", { class: `by-batch kind-${kind.name}`, d: `M${places.map((at) => at.map((one) => one.toFixed(1)).join(",")).join("L")}` }));
    for (const [at, point] of points.entries()) {
      const [, bounds] = figures(point);
      if (bounds) {
        const [low, high] = bounds.map(y);
        shapes.push(svg("path", { class: `by-batch kind-${kind.name}`, d: `M${places[at][0] - 4},${low}h8m-4,0V${high}m-4,0h8` }));
      }
      const dot = svg("g", { class: "dot", role: "img" }, mark(kind, ...places[at], 4.5));
      items.push(says(dot, `${kind.title}, batch ${point[0]}`, [
        ["latency", time(1e3 * point[1])],
        ...(point[2] ? [["between", point[2].map((ms) => time(1e3 * ms)).join(" and ")]] : []),
        ["images a second", three(point[3])],
        ["an image", time(1e3 * point[4])],
      ]));
      shapes.push(dot);
    }
  }
  return shapes;
}

// Round figures from 0 on, four or so.
function ticksTo(most) {
  const wide = decade(most / 4);
  const step = [10, 5, 2, 1].map((each) => each * wide).find((each) => 3 * each <= most);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, place) => place * step);
}
