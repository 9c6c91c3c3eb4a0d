// The canvas with the points.
const COUNT = data.name.length, GREY = "#b9bec6";
const FEW = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#332288", "#999933", "#000000"];
const STATE_COLORS = [GREY, "#0072b2", "#e69f00", "#d0021b"];
const canvas = find("#map"), pen = canvas.getContext("2d");
const hidden = {class: new Set(), state: new Set(), group: new Set(), split: new Set()};
const view = {map: 0, coloring: "class", scale: 1, left: 0, top: 0, chosen: -1, marked: new Set(), sought: ""};
const NONE = data.classes.length;  // the index of "no class" among the classes
const classesOf = point => data.labels[point].length ? data.labels[point] : [NONE];
let shown = [];

// A few values get colors that are safe for color-blind readers; with many, neighbors in the list differ most.
function colorOf(coloring, place) {
  if (coloring === "state") return STATE_COLORS[place];
  if (coloring === "class" && place === NONE) return GREY;
  const total = {class: data.classes, group: data.groups, split: data.splits}[coloring].length;
  return total <= FEW.length ? FEW[place] : `hsl(${place * 137.508 % 360} 70% ${38 + place % 3 * 9}%)`;
}

// A point with several classes gets the color of the first one shown.
function placeOf(coloring, point) {
  if (coloring !== "class") return data[coloring][point];
  return classesOf(point).find(one => !hidden.class.has(one));
}

function isShown(point) {
  return classesOf(point).some(one => !hidden.class.has(one))
    && ["state", "group", "split"].every(facet => !hidden[facet].has(data[facet][point]))
    && (!view.sought || data.name[point].toLowerCase().includes(view.sought));
}

// The side of the whole map in CSS pixels, without zoom. Reading sizes from the browser is slow.
const side = () => Math.min(canvas.clientWidth, canvas.clientHeight) * 0.94;

// The position of a point on the canvas, in CSS pixels.
function placeOnCanvas(point, unit = view.scale * side() / data.side) {
  const map = data.maps[view.map];
  return [view.left + map.x[point] * unit, view.top + (data.side - map.y[point]) * unit];
}

function wholeMap() {
  const unit = side(), map = data.maps[view.map];
  const middle = values => (values.reduce((a, b) => Math.min(a, b), data.side) + values.reduce((a, b) => Math.max(a, b), 0)) / 2;
  view.scale = 1;
  view.left = canvas.clientWidth / 2 - middle(map.x) / data.side * unit;
  view.top = canvas.clientHeight / 2 - (1 - middle(map.y) / data.side) * unit;
  redraw();
}

let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}

function draw() {
  const ratio = devicePixelRatio || 1, [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const size = Math.max(3, Math.min(10, 400 / Math.sqrt(COUNT) * Math.sqrt(view.scale) / 2));
  const byColor = new Map(), unit = view.scale * side() / data.side;
  for (const point of shown) {
    const [x, y] = placeOnCanvas(point, unit);
    if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
    const place = placeOf(view.coloring, point);
    if (!byColor.has(place)) byColor.set(place, []);
    byColor.get(place).push(x, y);
  }
  pen.globalAlpha = COUNT > 3000 ? 0.7 : 0.85;
  for (const [place, places] of byColor) {
    pen.fillStyle = colorOf(view.coloring, place);
    for (let one = 0; one < places.length; one += 2) pen.fillRect(places[one] - size / 2, places[one + 1] - size / 2, size, size);
  }
  pen.globalAlpha = 1;
  for (const point of view.marked) ring(point, size + 3, "#222", 1);
  if (view.chosen >= 0) drawChosen(size);
}

function ring(point, radius, color, width) {
  const [x, y] = placeOnCanvas(point);
  pen.strokeStyle = color;
  pen.lineWidth = width;
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.stroke();
}

function drawChosen(size) {
  const from = placeOnCanvas(view.chosen);
  pen.strokeStyle = "#555";
  pen.lineWidth = 1;
  for (const other of data.neighbors[view.chosen]) {
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...placeOnCanvas(other));
    pen.stroke();
  }
  ring(view.chosen, size + 4, "#d0021b", 2.5);
}

// The nearest shown point within some pixels, or -1.
function pointAt(x, y, reach = 9) {
  const unit = view.scale * side() / data.side;
  let best = -1, smallest = reach * reach;
  for (const point of shown) {
    const [px, py] = placeOnCanvas(point, unit), distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance <= smallest) [best, smallest] = [point, distance];
  }
  return best;
}

function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  const scale = Math.max(0.3, Math.min(400, view.scale * factor)), real = scale / view.scale;
  view.left = x - (x - view.left) * real;
  view.top = y - (y - view.top) * real;
  view.scale = scale;
  redraw();
}

function move(x, y) {
  view.left += x;
  view.top += y;
  redraw();
}
