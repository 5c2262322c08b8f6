// Elements, and how a picture is walked through by keyboard. Text is only ever set as text.

const DATA = JSON.parse(document.getElementById("data").textContent);

function make(namespace, tag, attributes, children) {
  const made = document.createElementNS(namespace, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const el = (tag, attributes = {}, ...children) =>
  make("http://www.w3.org/1999/xhtml", tag, attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  make("http://www.w3.org/2000/svg", tag, attributes, children);

const string = (place) => DATA.strings[place];

// A picture of a height, as wide as its place, in pixels.
const sheet = (width, height, attributes, ...children) =>
  svg("svg", { viewBox: `0 0 ${width} ${height}`, height, ...attributes }, ...children);

// Cuts a text to what fits into so many pixels; "" where nothing legible would be left.
function fitted(text, pixels, each = 7) {
  const most = Math.floor(pixels / each);
  if (text.length <= most) return text;
  return most < 4 ? "" : `${text.slice(0, most - 1)}…`;
}

// A figure is written whole, or not at all.
const figured = (figure, pixels) => (fitted(figure, pixels) === figure ? figure : "");

const text = (x, y, content, attributes = {}) => svg("text", { x, y, ...attributes }, content);

// Logarithmic axes: the power of ten below a value, and where a value lies.
const decade = (value) => 10 ** Math.floor(Math.log10(value));

function log(low, high, from, to) {
  const scale = (to - from) / Math.log10(high / low);
  return (value) => from + scale * Math.log10(value / low);
}

// Makes one stop of the tab key of many items: arrows lead from one to the next.
function walked(container, items) {
  items.forEach((item, place) => item.setAttribute("tabindex", place ? -1 : 0));
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  container.addEventListener("keydown", (event) => {
    const at = items.indexOf(event.target);
    if (at < 0) return;
    let next = at + (steps[event.key] ?? 0);
    if (event.key === "Home") next = 0;
    if (event.key === "End") next = items.length - 1;
    if (next === at || !items[next]) return;
    event.preventDefault();
    stepTo(items[at], items[next]);
  });
}

function stepTo(from, to) {
  from.setAttribute("tabindex", -1);
  to.setAttribute("tabindex", 0);
  to.focus();
}

// The kinds of kernels, by place.
const KINDS = DATA.kinds.map(([name, title, corners]) => ({ name, title, corners }));
const kindNamed = (name) => KINDS.find((kind) => kind.name === name);

// A kind's mark around a point: what colour says, shape says too.
function mark(kind, x, y, radius, attributes = {}) {
  const classes = `mark-of kind-${kind.name} ${attributes.class ?? ""}`;
  if (!kind.corners.length) {
    return svg("circle", { cx: x, cy: y, r: radius, ...attributes, class: classes });
  }
  const points = kind.corners.map(([dx, dy]) => `${(x + radius * dx).toFixed(1)},${(y + radius * dy).toFixed(1)}`);
  return svg("polygon", { points: points.join(" "), ...attributes, class: classes });
}

function legend(kinds, ...more) {
  const items = kinds.map((kind) =>
    el("li", {}, svg("svg", { viewBox: "0 0 12 12", "aria-hidden": true }, mark(kind, 6, 6, 4.5)), kind.title));
  return el("ul", { class: "legend" }, ...items, ...more);
}
