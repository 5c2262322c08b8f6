// What a mark says when a pointer or the keyboard is on it. Readers of screens hear its label.

const tips = new WeakMap();
const tip = el("div", { class: "tip", hidden: "", "aria-hidden": "true" });

// Says of an item, when it is asked: of a place on it, a title and facts, or null.
const saysAt = (item, ask) => tips.set(item, ask);

// Says of an item what it is, and its facts: pairs of a name and a figure.
function says(item, title, facts) {
  tips.set(item, [title, facts]);
  const said = facts.map(([name, value]) => `${name} ${value}`).join(", ");
  item.setAttribute("aria-label", said ? `${title}: ${said}` : title);
  return item;
}

function tipped(node) {
  for (let at = node; at && at !== document; at = at.parentNode) if (tips.has(at)) return at;
  return null;
}

function showTip(item, x, y) {
  const known = tips.get(item);
  const said = typeof known === "function" ? known(x, y) : known;
  tip.hidden = !said;
  if (!said) return;
  const [title, facts] = said;
  const pairs = facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
  tip.replaceChildren(el("strong", {}, title), el("dl", {}, ...pairs));
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.min(Math.max(8, x + 14), innerWidth - width - 8);
  const top = y + 18 + height < innerHeight ? y + 18 : y - height - 12;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${Math.max(8, top)}px`;
}

function startTips() {
  document.body.append(tip);
  document.addEventListener("pointermove", (event) => {
    const item = tipped(event.target);
    if (item) showTip(item, event.clientX, event.clientY);
    else tip.hidden = true;
  });
  document.addEventListener("focusin", (event) => {
    const item = tipped(event.target);
    tip.hidden = true;
    if (!item || !item.matches(":focus-visible")) return;
    const box = item.getBoundingClientRect();
    showTip(item, box.left + Math.min(box.width / 2, 80), box.bottom - 12);
  });
  document.addEventListener("focusout", () => { tip.hidden = true; });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
}
