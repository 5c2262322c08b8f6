// Kernels by operations per byte and per second, on logarithmic axes, under the device's roofs.

const GUTTER = 54;

function rooflinePicture(host, row) {
  const { points, gbps, gops, peak, leftOut } = row.roofline;
  if (!points.length) return () => host.replaceChildren(el("p", { class: "note" }, "The bytes of no kernel are known."));
  const computing = points.filter(([, intensity]) => intensity > 0);
  const copies = points.filter(([, intensity]) => !intensity);
  const most = Math.max(...row.kernels.map((kernel) => kernel[KERNEL.us]));
  const lowX = Math.min(0.1, ...computing.map((point) => point[1])) / 1.7;
  const highX = 2 * Math.max(10, ...computing.map((point) => point[1]), gops && gbps ? gops / gbps : 0);
  const heights = [...computing.map((point) => point[2]), ...copies.map((point) => point[3] * lowX)];
  const lowY = decade(Math.min(...heights));
  const highY = 2 * Math.max(...heights, gops ?? 0, gbps && !gops ? gbps * Math.min(highX, 20) : 0);
  const used = KINDS.filter((_, kind) => points.some(([place]) => row.kernels[place][KERNEL.kind] === kind));

  return (width) => {
    const height = Math.min(440, Math.max(300, width * 0.5));
    const left = 46 + (copies.length ? GUTTER : 0);
    const [right, top, bottom] = [width - 8, 8, height - 40];
    const x = log(lowX, highX, left, right);
    const y = log(lowY, highY, bottom, top);
    const dots = points
      .map((point) => ({ point, kernel: row.kernels[point[0]] }))
      .sort((a, b) => b.kernel[KERNEL.us] - a.kernel[KERNEL.us])
      .map(({ point, kernel }, order) => drawDot(point, kernel, { x, y, left, lowX, most, order, row }));
    const picture = sheet(width, height, { role: "group", "aria-label": host.dataset.label },
      ...(copies.length ? [svg("rect", { class: "gutter", x: 46, y: top, width: GUTTER - 6, height: bottom - top }),
        text(46 + (GUTTER - 6) / 2, bottom + 16, "copies", { class: "soft", "text-anchor": "middle" })] : []),
      ...axes({ x, y, lowX, highX, lowY, highY, left, right, top, bottom, width, height }),
      ...roofs({ x, y, gbps, gops, peak, lowX, highX, highY, left, right, top, start: copies.length ? 46 : left }),
      ...dots);
    host.replaceChildren(legend(used,
      el("li", {}, svg("svg", { viewBox: "0 0 12 12", "aria-hidden": true }, mark(KINDS[0], 6, 6, 4.5, { class: "hollow" })), "hollow: 0 MACs")), picture);
    if (leftOut) host.append(el("p", { class: "note" }, `${leftOut} kernels are not shown: their bytes are not known.`));
    walked(picture, dots);
  };
}

function drawDot([, intensity, gops, gbps], kernel, { x, y, left, lowX, most, order, row }) {
  const us = kernel[KERNEL.us];
  const radius = 2.5 + 9 * Math.sqrt(us / most);
  // Copies have no place across: they are spread, so that they can be told apart.
  const at = intensity ? [x(intensity), y(gops)] : [left - GUTTER + 10 + ((order * 17) % (GUTTER - 26)), y(gbps * lowX)];
  const kind = KINDS[kernel[KERNEL.kind]];
  const group = svg("g", { class: "dot", role: "img" }, mark(kind, ...at, radius, { class: kernel[KERNEL.macs] ? "" : "hollow" }));
  return says(group, string(kernel[KERNEL.name]), [
    ["kind", kind.title],
    ["owner", string(kernel[KERNEL.owner]) || "not known"],
    ["time", `${time(us)}, ${percent(us / row.total)}`],
    ["MACs", count(kernel[KERNEL.macs])],
    ["operations", intensity ? `${three(intensity)} a byte, ${three(gops)} G a second` : "none: a copy"],
    ["bandwidth", `${three(gbps)} GB/s`],
    ...(string(kernel[KERNEL.bound]) ? [["held back by", string(kernel[KERNEL.bound])]] : []),
  ]);
}

function axes({ x, y, lowX, highX, lowY, highY, left, right, top, bottom, height }) {
  const shapes = [svg("path", { class: "rule", d: `M${left},${top}V${bottom}H${right}` })];
  for (let tick = 10 * decade(lowX); tick <= highX; tick *= 10) {
    shapes.push(svg("line", { class: "axis", x1: x(tick), x2: x(tick), y1: top, y2: bottom }));
    shapes.push(text(x(tick), bottom + 16, three(tick), { class: "soft", "text-anchor": "middle" }));
  }
  for (let tick = lowY; tick <= highY; tick *= 10) {
    shapes.push(svg("line", { class: "axis", x1: left, x2: right, y1: y(tick), y2: y(tick) }));
    shapes.push(text(40, y(tick) + 4, three(tick), { class: "soft", "text-anchor": "end" }));
  }
  shapes.push(text(right, height - 6, "operations a byte", { class: "soft", "text-anchor": "end" }));
  shapes.push(text(left + 6, top + 12, "G operations a second", { class: "soft haloed" }));
  return shapes;
}

function roofs({ x, y, gbps, gops, peak, lowX, highX, highY, left, right, top, start }) {
  const shapes = [];
  if (gbps) {
    const end = Math.min(gops ? gops / gbps : highX, highX, highY / gbps);
    shapes.push(svg("path", { class: "roof", d: `M${start},${y(gbps * lowX)}H${left}L${x(end)},${y(gbps * end)}` }));
    const along = lowX * (end / lowX) ** 0.85;
    shapes.push(text(x(along) - 8, y(gbps * along) - 4, `${three(gbps)} GB/s`, { class: "strong haloed", "text-anchor": "end" }));
  }
  if (gops) {
    const from = gbps ? Math.min(gops / gbps, highX) : lowX;
    shapes.push(svg("path", { class: "roof", d: `M${x(from)},${y(gops)}H${right}` }));
    shapes.push(text(right, Math.max(y(gops) - 6, top + 10), peak, { class: "strong haloed", "text-anchor": "end" }));
  }
  return shapes;
}
