// Draws what is shown, once it is shown; redraws pictures where the page's width changes.

const PICTURES = {
  "hidden-cost": hiddenCostPicture, icicle: iciclePicture, kinds: kindsPicture,
  roofline: rooflinePicture, samples: samplesPicture, batches: batchesPicture,
};
const redraws = new Map();

const widths = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const entry = redraws.get(target);
    const width = Math.round(contentRect.width);
    if (!width || entry.width === width) continue;
    entry.width = width;
    entry.redraw(width);
  }
});

function drawIn(place) {
  const figures = [...place.querySelectorAll("figure[data-picture][hidden]")];
  for (const figure of figures) figure.hidden = false;
  // Widths are asked before anything is drawn: each question after a change lays out the page anew.
  const canvases = figures.map((figure) => figure.querySelector(".canvas"));
  const wide = canvases.map((canvas) => Math.round(canvas.clientWidth));
  for (const [at, figure] of figures.entries()) {
    const [canvas, width] = [canvases[at], wide[at]];
    const redraw = PICTURES[figure.dataset.picture](canvas, DATA.rows[figure.dataset.row]);
    redraws.set(canvas, { redraw, width });
    redraw(width);
    widths.observe(canvas);
  }
  for (const table of place.querySelectorAll(".kernels[hidden]")) kernelTable(table, DATA.rows[table.dataset.row]);
}

const articles = [...document.querySelectorAll("article.row")];
const picker = document.getElementById("picker");

function choose(place) {
  articles.forEach((article, at) => { article.hidden = at !== place; });
  for (const line of document.querySelectorAll(".models tr[data-row]")) {
    line.classList.toggle("chosen", Number(line.dataset.row) === place);
  }
  if (picker) picker.value = place;
  drawIn(articles[place]);
}

function startChoosing() {
  picker.closest(".picker").hidden = false;
  picker.addEventListener("change", () => {
    const place = Number(picker.value);
    choose(place);
    // Who picks before having come down to a model is taken there.
    if (articles[place].getBoundingClientRect().top > innerHeight / 2) articles[place].scrollIntoView();
  });
  for (const link of document.querySelectorAll(".models a[href^='#']")) {
    link.addEventListener("click", () => choose(Number(link.closest("tr").dataset.row)));
  }
}

startTips();
if (picker) startChoosing();
const linked = articles.findIndex((article) => `#${article.id}` === location.hash);
choose(linked >= 0 ? linked : Number(picker?.value ?? 0));
if (linked >= 0) articles[linked].scrollIntoView();
const comparison = document.querySelector(".comparison");
if (comparison) drawIn(comparison);
document.documentElement.dataset.ready = Math.round(performance.now());
