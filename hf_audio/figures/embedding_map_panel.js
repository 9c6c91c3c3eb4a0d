// The controls around the canvas, and mouse and keyboard events.
const player = find("#player"), tip = find("#tip");

function refresh() {
  shown = [];
  for (let point = 0; point < COUNT; point++) if (isShown(point)) shown.push(point);
  find("#count").textContent = `${shown.length} of ${COUNT} clips`;
  redraw();
}

const classNames = places => places.map(one => data.classes[one]).join(" + ") || "no class";

function words(point) {
  const predicted = data.decided[point] === null ? "" : `; the model predicts ${classNames(data.decided[point])}: ${data.states[data.state[point]]}`;
  return `${data.name[point]}: ${classNames(data.labels[point])}${predicted}; group ${data.groups[data.group[point]]}, ${data.splits[data.split[point]]}`;
}

function choose(point, marked = []) {
  view.chosen = point;
  view.marked = new Set(marked);
  find("#chosen").hidden = false;
  find("#about").replaceChildren(named(words(point)));
  find("#near").replaceChildren(...data.neighbors[point].map(other =>
    element("button", {onclick: () => choose(other)}, named(words(other)))));
  play(point);
  redraw();
}

function play(point) {
  const address = data.sound[point];
  player.hidden = !address;
  find("#silent").hidden = Boolean(address);
  find("#silent").textContent = "The recording was not found.";
  if (!address) return player.pause();
  player.src = address;
  player.play().catch(error => {
    if (error.name === "AbortError") return;
    find("#silent").hidden = false;
    find("#silent").textContent = "This browser cannot play the recording: " + error.message;
  });
}

// Centers the map on a point.
function show(point) {
  const [x, y] = placeOnCanvas(point);
  move(canvas.clientWidth / 2 - x, canvas.clientHeight / 2 - y);
}

const MAX_BOXES = 300;  // per list: a page with 20,000 boxes is slow
function facet(name, title, names) {
  const counts = new Array(names.length).fill(0);
  for (let point = 0; point < COUNT; point++)
    for (const one of name === "class" ? classesOf(point) : [data[name][point]]) counts[one]++;
  const places = names.map((_, place) => place).filter(place => counts[place]).sort((a, b) => name === "group" ? counts[b] - counts[a] || a - b : a - b);
  const boxes = element("div", {className: "facet"}), sought = element("input", {type: "search", placeholder: "part of a name", size: 14});
  const draw = () => {
    const found = places.filter(place => names[place].toLowerCase().includes(sought.value.toLowerCase()));
    boxes.replaceChildren(...found.slice(0, MAX_BOXES).map(place => {
      const box = element("input", {type: "checkbox", checked: !hidden[name].has(place), onchange: () => {
        box.checked ? hidden[name].delete(place) : hidden[name].add(place);
        refresh();
      }});
      const swatch = element("span", {className: "swatch"});
      swatch.style.background = view.coloring === name ? colorOf(name, place) : "transparent";
      return element("label", {}, box, swatch, named(names[place]), ` ${counts[place]}`);
    }), found.length > MAX_BOXES ? `${found.length - MAX_BOXES} more: type part of the name` : "");
  };
  const all = on => {
    for (const place of places) if (names[place].toLowerCase().includes(sought.value.toLowerCase())) on ? hidden[name].delete(place) : hidden[name].add(place);
    draw();
    refresh();
  };
  sought.addEventListener("input", draw);
  facets.push(draw);
  draw();
  return element("div", {id: `facet-${name}`}, element("h2", {}, title, " ", element("button", {className: "all", onclick: () => all(true)}, "all"), " ",
    element("button", {className: "none", onclick: () => all(false)}, "none"), " ", places.length > 12 ? sought : ""), boxes);
}

function list(one) {
  const rows = element("div", {className: "rows"}, ...one.rows.map(row => {
    const [first] = row.points;
    const button = element("button", {onclick: () => {
      for (const other of document.querySelectorAll(".rows .chosen")) other.classList.remove("chosen");
      button.classList.add("chosen");
      choose(first, row.points);
      show(first);
    }}, ...row.points.slice(0, one.named).flatMap(point => [named(data.name[point]), "; "]), named(row.text));
    return button;
  }));
  const more = one.total > one.rows.length ? ` The first ${one.rows.length} are shown here; neighbors.csv has all.` : "";
  return element("details", {open: one.total > 0}, element("summary", {}, `${one.title}: ${one.total}`), element("p", {}, one.explanation + more), rows);
}

const facets = [];
find("#notes").append(...data.notes.map(note => element("p", {}, named(note))));
find("#method").append(...data.maps.map((map, place) => element("option", {value: place}, map.title)));
const isScored = data.decided.some(one => one !== null);
if (!isScored) find("#coloring option[value=state]").remove();
find("#facets").append(
  facet("class", "Classes", [...data.classes, "(no class)"]), isScored ? facet("state", "Correctness", data.states) : "",
  facet("split", "Splits", data.splits), facet("group", "Groups", data.groups));
find("#lists").append(...data.lists.map(list));
find("#method").addEventListener("input", event => {
  view.map = Number(event.target.value);
  find("#caption").textContent = data.maps[view.map].caption;
  wholeMap();
});
find("#coloring").addEventListener("input", event => {
  view.coloring = event.target.value;
  for (const draw of facets) draw();
  redraw();
});
find("#find").addEventListener("input", event => {
  view.sought = event.target.value.toLowerCase();
  refresh();
});
find("#whole").addEventListener("click", wholeMap);

let dragged = null;
canvas.addEventListener("pointerdown", event => { dragged = {x: event.offsetX, y: event.offsetY, far: 0}; canvas.setPointerCapture(event.pointerId); });
canvas.addEventListener("pointermove", event => {
  if (dragged) {
    const [x, y] = [event.offsetX - dragged.x, event.offsetY - dragged.y];
    dragged = {x: event.offsetX, y: event.offsetY, far: dragged.far + Math.hypot(x, y)};
    if (dragged.far > 4) move(x, y);
  }
  const point = pointAt(event.offsetX, event.offsetY);
  tip.hidden = point < 0;
  if (point < 0) return;
  tip.replaceChildren(named(words(point)));
  [tip.style.left, tip.style.top] = [`${event.clientX + 14}px`, `${event.clientY + 10}px`];
});
canvas.addEventListener("pointerup", event => {
  const point = pointAt(event.offsetX, event.offsetY);
  if (dragged && dragged.far <= 4 && point >= 0) choose(point);
  dragged = null;
});
canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
}, {passive: false});
canvas.addEventListener("keydown", event => {
  const act = {
    "+": () => zoom(1.4), "-": () => zoom(1 / 1.4), "0": wholeMap, " ": () => view.chosen >= 0 && play(view.chosen),
    ArrowLeft: () => move(60, 0), ArrowRight: () => move(-60, 0), ArrowUp: () => move(0, 60), ArrowDown: () => move(0, -60),
  }[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
});
addEventListener("resize", redraw);
find("#caption").textContent = data.maps[0].caption;
refresh();
wholeMap();
