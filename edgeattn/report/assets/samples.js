// Each run's latency in order, and how often each is seen.

function samplesPicture(host, row) {
  const { samples, step, p50, p90, p99 } = row.latency;

  return (width) => {
    const [left, height, often] = [92, 140, Math.min(120, width / 6)];
    const right = width - often - 12;
    const low = Math.min(...samples);
    const high = Math.max(...samples, low * 1.001);
    const y = (ms) => height - 8 - ((ms - low) / (high - low)) * (height - 22);
    const x = (place) => left + 4 + (place / Math.max(samples.length - 1, 1)) * (right - left - 8);
    const dots = samples.map((ms, place) => svg("circle", { class: "sample", cx: x(place).toFixed(1), cy: y(ms).toFixed(1), r: samples.length > 400 ? 1.4 : 2.2 }));
    const quantiles = [["p50", p50], ["p90", p90], ["p99", p99]].filter(([, ms]) => ms !== null);
    const label = `${host.dataset.label}: ${samples.length} runs from ${time(1e3 * low)} to ${time(1e3 * high)}`;
    host.replaceChildren(sheet(width, height, { role: "img", "aria-label": label },
      ...bins(samples, low, high).map(([from, to, part]) => svg("rect", { class: "often", x: right + 12, y: y(to), width: part * often, height: Math.max(y(from) - y(to) - 1, 1) })),
      ...quantiles.map(([, ms]) => svg("line", { class: "quantile", x1: left, x2: width, y1: y(ms), y2: y(ms) })),
      ...dots,
      ...apart(quantiles.map(([name, ms]) => [`${name} ${time(1e3 * ms)}`, y(ms) + 4])).map(([name, at]) => text(left - 8, at, name, { class: "soft", "text-anchor": "end" }))));
    if (step > 1) host.append(el("p", { class: "note" }, `One run in ${step} is shown.`));
  };
}

// [from, to, part of the fullest] of each bin.
function bins(samples, low, high) {
  const number = Math.min(24, Math.max(6, Math.round(Math.sqrt(samples.length) * 1.5)));
  const counts = new Array(number).fill(0);
  for (const ms of samples) counts[Math.min(number - 1, Math.floor(((ms - low) / (high - low)) * number))] += 1;
  const most = Math.max(...counts);
  const wide = (high - low) / number;
  return counts.map((each, place) => [low + place * wide, low + (place + 1) * wide, each / most]);
}

// Moves labels up until none covers another.
function apart(labels) {
  let last = Infinity;
  return labels.map(([name, y]) => {
    last = Math.min(y, last - 13);
    return [name, last];
  });
}
