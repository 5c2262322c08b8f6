// The picture that makes the point: shares of MACs above, of time, of bytes below, band by band.

function hiddenCostPicture(host, row) {
  const { bands, tiers } = row.hiddenCost;
  const THICKNESS = { macs: 30, time_us: 46, traffic_bytes: 20 };

  return (width) => {
    const isWide = width >= 620;
    const left = isWide ? 150 : 0;
    const across = width - left;
    const flow = 62;
    let at = isWide ? 24 : 46;
    const places = tiers.map(([measure]) => {
      const place = { top: at, bottom: at + THICKNESS[measure] };
      at = place.bottom + flow;
      return place;
    });
    const x = (tier, edge) => left + across * tiers[tier][2][edge];
    const shapes = bands.map((band, place) => drawBand(band, place, { tiers, places, x, row }));
    const hasSites = bands.some(([, isSite]) => isSite);
    const labels = tiers.flatMap((tier, place) => tierLabels(tier, places[place], { isWide, hasSites, place }));
    const groups = siteGroups(bands);
    const picture = sheet(width, at - flow + 14, { role: "group", "aria-label": host.dataset.label },
      ...shapes,
      ...groups.flatMap((group, place) => groupLabels(group, groups[place - 1], { tiers, places, x, width })),
      ...bands.flatMap((band, place) => (band[1] ? [] : stageLabels(band, place, { tiers, places, x }))),
      ...labels);
    host.replaceChildren(picture);
    walked(picture, shapes);
  };
}

function drawBand([name, isSite, macs, us, bytes], place, { tiers, places, x, row }) {
  const group = svg("g", { class: `band ${isSite ? "site" : "stage"}`, role: "img" });
  tiers.forEach((_, tier) => {
    const [from, to] = [x(tier, place), x(tier, place + 1)];
    const { top, bottom } = places[tier];
    const seam = to - from > 3 ? 1 : 0;
    group.append(svg("rect", { class: "share", x: from, y: top, width: Math.max(to - from - seam, 0), height: bottom - top }));
    if (tier + 1 < tiers.length) {
      const below = places[tier + 1].top;
      const [a, b] = [x(tier + 1, place), x(tier + 1, place + 1)];
      group.append(svg("path", { class: "flow", d: `M${from},${bottom}L${to},${bottom}L${b},${below}L${a},${below}Z` }));
    }
  });
  const values = { macs, time_us: us, traffic_bytes: bytes };
  return says(group, string(name), tiers.map(([measure, total]) => [
    MEASURES[measure].title,
    `${MEASURES[measure].write(values[measure])}, ${percent(values[measure] / total)}`,
  ]));
}

// Neighbouring sites: [first, last + 1].
function siteGroups(bands) {
  const groups = [];
  bands.forEach(([, isSite], place) => {
    if (!isSite) return;
    const last = groups.at(-1);
    if (last && last[1] === place) last[1] = place + 1;
    else groups.push([place, place + 1]);
  });
  return groups;
}

function groupLabels([first, end], before, { tiers, places, x, width }) {
  return tiers.flatMap(([measure, , edges], tier) => {
    const [from, to] = [x(tier, first), x(tier, end)];
    const { top, bottom } = places[tier];
    if (to - from < 1.5) {
      const label = end - first > 1 ? `${end - first} sites` : "1 site";
      const isCrowded = before && from - x(tier, before[1]) < 50;
      // At the edge it ends where the picture ends.
      const anchor = from > width - 24 ? ["end", width] : ["middle", from];
      return [
        svg("line", { class: "pin", x1: from, x2: from, y1: top - 6, y2: bottom }),
        svg("circle", { class: "pin", cx: from, cy: top - 8, r: 3 }),
        measure === "macs" && !isCrowded ? text(anchor[1], top - 14, label, { class: "accent", "text-anchor": anchor[0], "font-size": 11 }) : null,
      ].filter(Boolean);
    }
    const label = figured(percent(edges[end] - edges[first]), to - from - 4);
    return label ? [text((from + to) / 2, (top + bottom) / 2 + 4, label, { class: "on-site tied", "text-anchor": "middle" })] : [];
  });
}

function stageLabels([name], place, { tiers, places, x }) {
  return tiers.flatMap((_, tier) => {
    const [from, to] = [x(tier, place), x(tier, place + 1)];
    const label = to - from > 34 ? fitted(string(name), to - from - 8) : "";
    const { top, bottom } = places[tier];
    return label ? [text((from + to) / 2, (top + bottom) / 2 + 4, label, { class: "on-backbone", "text-anchor": "middle" })] : [];
  });
}

function tierLabels([measure, total, , siteShare], { top, bottom }, { isWide, hasSites, place }) {
  const { title, says: why, write } = MEASURES[measure];
  const whole = `${title} ${write(total)}`;
  const ofSites = hasSites ? `sites ${percent(siteShare)}` : "";
  if (!isWide) {
    const y = place ? top - 7 : 12;
    return [
      text(0, y, whole, { class: "strong haloed" }),
      text(7.2 * whole.length + 14, y, ofSites, { class: "accent haloed" }),
    ];
  }
  const y = (top + bottom) / 2;
  return [
    text(0, y - 12, whole, { class: "strong" }),
    text(0, y + 4, why, { class: "soft" }),
    text(0, y + 22, ofSites, { class: "accent", "font-size": 15 }),
  ];
}
