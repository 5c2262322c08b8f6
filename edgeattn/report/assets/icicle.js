// Time by module: a tree that opens to the right and downwards, and zooms.

function iciclePicture(host, row) {
  const tiles = row.icicle.map(([name, path, parent, depth, start, us, self, isSite], place) => ({
    place, name: string(name), path: string(path), parent, depth, start, us, self, isSite, children: [],
  }));
  for (const tile of tiles) {
    if (tile.parent < 0) continue;
    tile.isOdd = tiles[tile.parent].children.length % 2 === 0;
    tiles[tile.parent].children.push(tile);
  }
  let root = tiles[0];
  let width = 0;
  const crumbs = el("ol", { class: "crumbs", "aria-label": "Shown module" });
  const canvas = el("div");
  host.replaceChildren(crumbs, canvas);

  function zoom(tile, focused) {
    root = tile;
    draw();
    canvas.querySelector(`[data-place="${focused.place}"]`)?.focus();
  }

  function draw() {
    const line = 26;
    const depth = Math.max(...tiles.map((tile) => (isInside(tiles, tile, root) ? tile.depth : 0)));
    const scale = width / root.us;
    const shown = tiles.filter((tile) => isInside(tiles, tile, root) && tile.us * scale >= 0.75);
    const groups = shown.map((tile) => drawTile(tile, {
      x: (tile.start - root.start) * scale,
      y: (tile.depth - root.depth) * line,
      width: tile.us * scale,
      height: line - 1,
      level: tile.depth - root.depth + 1,
      row,
    }));
    const picture = sheet(width, (depth - root.depth + 1) * line, { role: "tree", "aria-label": host.dataset.label }, ...groups);
    canvas.replaceChildren(picture);
    groups.forEach((group, place) => group.setAttribute("tabindex", place ? -1 : 0));
    picture.addEventListener("keydown", (event) => step(event, shown, groups));
    picture.addEventListener("click", (event) => {
      const tile = tiles[event.target.closest("[data-place]")?.dataset.place];
      if (tile) zoom(tile === root && root.parent >= 0 ? tiles[root.parent] : tile, tile);
    });
    drawCrumbs();
  }

  function step(event, shown, groups) {
    const at = shown.findIndex((tile) => tile.place === Number(event.target.dataset?.place));
    if (at < 0) return;
    const tile = shown[at];
    const beside = shown.filter((other) => other.depth === tile.depth);
    const next = {
      ArrowDown: () => shown.find((other) => other.parent === tile.place),
      ArrowUp: () => shown.find((other) => other.place === tile.parent),
      ArrowRight: () => beside[beside.indexOf(tile) + 1],
      ArrowLeft: () => beside[beside.indexOf(tile) - 1],
    }[event.key]?.();
    if (next) stepTo(groups[at], groups[shown.indexOf(next)]);
    else if (event.key === "Enter" || event.key === " ") zoom(tile, tile);
    else if (event.key === "Escape" && root.parent >= 0) zoom(tiles[root.parent], root);
    else if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
  }

  function drawCrumbs() {
    const trail = [];
    for (let at = root; at; at = tiles[at.parent]) trail.unshift(at);
    crumbs.replaceChildren(...trail.map((tile) => {
      if (tile === root) return el("li", { class: "now", "aria-current": "true" }, `${tile.name} ${time(tile.us)}`);
      const button = el("button", { type: "button" }, tile.name);
      button.addEventListener("click", () => zoom(tile, tile));
      return el("li", {}, button);
    }));
  }

  return (pixels) => {
    width = pixels;
    draw();
  };
}

function isInside(tiles, tile, outer) {
  let at = tile;
  while (at && at.depth > outer.depth) at = tiles[at.parent];
  return at === outer;
}

function drawTile(tile, { x, y, width, height, level, row }) {
  const label = fitted(tile.name, width - 8);
  const share = tile.us / row.total;
  const figure = label === tile.name ? figured(percent(share), width - 22 - 7 * label.length) : "";
  const classes = ["tile", tile.isSite ? "site" : "", tile.isOdd ? "odd" : ""];
  const group = svg("g", {
    class: classes.join(" "), role: "treeitem", "aria-level": level, "data-place": tile.place,
    "aria-expanded": tile.children.length ? "true" : null,
  },
    svg("rect", { x, y, width: Math.max(width - 1, 0.5), height }),
    label ? text(x + 6, y + 17, label, { class: tile.isSite ? "on-site" : "on-backbone" }) : null,
    figure ? text(x + width - 8, y + 17, figure, { class: tile.isSite ? "on-site" : "on-backbone", "text-anchor": "end" }) : null);
  return says(group, tile.path || tile.name, [
    ["time", `${time(tile.us)}, ${percent(share)}`],
    ...(tile.children.length && tile.self ? [["of its own", time(tile.self)]] : []),
    ...(tile.isSite ? [["part of", "an attention site"]] : []),
  ]);
}
