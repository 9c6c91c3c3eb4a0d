// The decisions on clips, which are stored in the browser, and written to and read from a table of corrections.
// {labels, unknown, drop} by clip_id, including decisions made on other pages.
const cases = data.cases, byId = new Map(cases.map(one => [one.id, one])), decided = new Map();
const sameNames = (a, b) => a.length === b.length && a.every(name => b.includes(name));
const without = (names, others) => names.filter(name => !others.includes(name));
const said = text => { find("#said").textContent = text; };

function stateOf(one) {
  const its = decided.get(one.id);
  if (!its) return "undecided";
  if (its.drop) return "dropped";
  const known = !data.isPartial || sameNames(its.unknown, one.unknown);
  return known && sameNames(its.labels, one.given) ? "kept" : "corrected";
}

const labelsOf = one => decided.get(one.id)?.labels ?? one.given;
const unknownOf = one => decided.get(one.id)?.unknown ?? one.unknown;

function decide(one, labels, unknown = without(unknownOf(one), labels)) {
  decided.set(one.id, {labels, unknown: data.isPartial ? unknown : [], drop: false});
  keep();
}

function drop(one) {
  decided.set(one.id, {labels: [], unknown: [], drop: true});
  keep();
}

function forget(one) {
  decided.delete(one.id);
  keep();
}

const hasSuggestion = one => one.drops || one.suggested !== null;
const accept = one => one.drops ? drop(one) : decide(one, one.suggested, without(one.unknown, one.suggested));

function keep() {
  try {
    localStorage.setItem(data.key, JSON.stringify([...decided]));
  } catch (error) {
    said(`This browser cannot store the decisions (${error.name}): download the corrections before you leave the page.`);
  }
}

function remember() {
  decided.clear();
  try {
    for (const [id, its] of JSON.parse(localStorage.getItem(data.key) ?? "[]")) {
      const isNames = names => Array.isArray(names) && names.every(name => typeof name === "string");
      if (typeof id === "string" && isNames(its.labels) && isNames(its.unknown)) decided.set(id, {labels: its.labels, unknown: its.unknown, drop: its.drop === true});
    }
  } catch (error) {
    said(`The decisions stored in this browser cannot be read (${error.name}): load the corrections from a file.`);
  }
}

// Clips of this page in its order, followed by those from a file or another page.
function correctionsText() {
  const order = [...cases.map(one => one.id).filter(id => decided.has(id)), ...[...decided.keys()].filter(id => !byId.has(id))];
  const partial = data.isPartial ? ["unknown"] : [];
  return csvText([["clip_id", "labels", ...partial, "given", "decision"], ...order.map(id => {
    const its = decided.get(id), one = byId.get(id);
    const cells = [id, its.drop ? LEAVE_OUT : namesCell(its.labels), ...partial.map(() => namesCell(its.unknown))];
    return [...cells, one ? namesCell(one.given) : "", one ? stateOf(one) : its.drop ? "dropped" : ""];
  })]);
}

// Loads a table of corrections, or throws an Error with a sentence for the user and loads nothing.
function takeCorrections(text) {
  const [columns, rows] = csvRows(text), taken = new Map();
  const column = ["labels", "label"].find(name => columns.includes(name));
  if (!columns.includes("clip_id") || !column) throw new Error(`The file has columns ${columns.join(", ")}; expected clip_id and labels.`);
  for (const [line, row] of rows) {
    const id = row.clip_id, drop = row[column] === LEAVE_OUT;
    if (!id || taken.has(id)) throw new Error(`Line ${line}: ${id ? `clip ${id} occurs twice` : "clip_id is empty"}.`);
    const labels = drop ? [] : column === "label" && row.label ? [row.label] : namesInCell(row[column]);
    if (!data.isMulti && !drop && labels.length !== 1) throw new Error(`Line ${line} gives clip ${id} ${labels.length} labels, and every clip here has exactly one.`);
    taken.set(id, {labels, unknown: unknownIn(row, columns, id, line, labels), drop});
  }
  for (const [id, its] of taken) decided.set(id, its);
  keep();
  return taken.size;
}

function unknownIn(row, columns, id, line, labels) {
  const named = columns.includes("unknown") ? namesInCell(row.unknown) : [];
  if (!data.isPartial) {
    if (named.length) throw new Error(`Line ${line} has unknown classes, but in these data all classes are known.`);
    return [];
  }
  if (columns.includes("unknown")) return named;
  if (!byId.has(id)) throw new Error(`The file has no column unknown, and clip ${id} is not on this page: its unknown classes would be lost.`);
  return without(byId.get(id).unknown, labels);
}
