// The rows of a sweep, by number: what they are called, their figures, and which of them are shown.

DATA.facets.device = { names: DATA.places.map((place) => place.title), codes: DATA.place };
const FACETS = {
  model: "model", attention: "attention", at: "place", device: "device", precision: "precision",
  runtime: "runtime", target: "target", opset: "opset", options: "options",
};
const NOTES = DATA.notes;

const named = (facet, row) => DATA.facets[facet].names[DATA.facets[facet].codes[row]];
const figure = (name, row) => DATA.figures[name]?.[row] ?? null;
// A plain model is at no place; an attention of one's own may be called so.
const isPlain = (row) => named("at", row) === "";
const evidenceOf = (row) => DATA.places[DATA.place[row]].evidence;
const varied = (facet) => DATA.facets[facet].names.filter(Boolean).length > 1;
const milliseconds = (ms) => (ms === null ? "" : time(1e3 * ms));
const signed = (number, digits = 1) => `${number < 0 ? "" : "+"}${number.toFixed(digits)}`;

// A long name, of which the end tells most: it is the file, and what is taken of it.
const brief = (name, most = 36) => (name.length > most ? `…${name.slice(1 - most)}` : name);

// What a row is called, in few words: only what tells it from others.
const titled = (row) => [named("model", row), named("attention", row), ...["at", "precision", "runtime", "target", "options"]
  .filter(varied).map((facet) => named(facet, row))].filter(Boolean).map((name) => brief(name)).join(", ");

function grouped(items, key) {
  const groups = new Map();
  for (const item of items) {
    const name = key(item);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(item);
  }
  return groups;
}

// What is asked of the rows that are shown.
const asked = {
  evidence: DATA.places[0]?.evidence,
  words: [],
  picked: Object.fromEntries(Object.keys(FACETS).map((facet) => [facet, new Set()])),
  most: { latency: null, above: null },
};

// Names are searched, not rows: of each facet, which of its names hold a word.
function holders(word) {
  const columns = [...Object.keys(FACETS).map((facet) => DATA.facets[facet]), NOTES];
  return columns
    .map(({ names, codes }) => ({ codes, holds: names.map((name) => name.toLowerCase().includes(word)) }))
    .filter(({ holds }) => holds.includes(true));
}

function shownRows() {
  const words = asked.words.map(holders);
  const picked = Object.entries(asked.picked).filter(([, codes]) => codes.size)
    .map(([facet, wanted]) => [DATA.facets[facet].codes, wanted]);
  const most = Object.entries(asked.most).filter(([, limit]) => limit !== null)
    .map(([name, limit]) => [DATA.figures[name] ?? [], limit]);
  const found = [];
  for (let row = 0; row < DATA.count; row += 1) {
    if (evidenceOf(row) === asked.evidence
      && picked.every(([codes, wanted]) => wanted.has(codes[row]))
      && most.every(([values, limit]) => (values[row] ?? Infinity) <= limit)
      && words.every((columns) => columns.some(({ codes, holds }) => holds[codes[row]]))) found.push(row);
  }
  return found;
}

// The facts of a row that a tip says.
function factsOf(row) {
  const above = figure("above", row);
  const interval = (low, high, write) => (figure(low, row) === null ? "" : ` (${write(figure(low, row))} to ${write(figure(high, row))})`);
  return [
    ["latency", milliseconds(figure("latency", row)) + interval("low", "high", milliseconds)],
    ...(above === null ? [] : [["above plain", `${signed(above)} %${interval("aboveLow", "aboveHigh", signed)}`]]),
    ["parameters", count(figure("params", row))],
    ["MACs", count(figure("macs", row))],
  ];
}
