// The controls: keys, buttons, files, and the commands with their fields.
for (const [name, act] of Object.entries(acts)) find("#" + name).addEventListener("click", act);
const keys = {g: acts.keep, s: acts.accept, d: acts.drop, u: acts.undo, j: () => go(1), ArrowDown: () => go(1), k: () => go(-1), ArrowUp: () => go(-1), " ": playNext, c: () => find("#class").focus()};
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=checkbox]), select, textarea") || !keys[event.key]) return;
  if (event.key === " " && event.target.matches("button, audio, input")) return;
  event.preventDefault();
  keys[event.key]();
});

find("#class").addEventListener("input", () => current && fillChips());
find("#class").addEventListener("keydown", event => {
  if (event.key === "Escape") event.target.blur();
  if (event.key !== "Enter" || !current) return;
  const text = event.target.value.trim(), first = found()[0];
  event.preventDefault();
  if (!text) return decideAndGoOn(() => { if (!decided.has(current.id)) decide(current, current.given, current.unknown); });
  const exact = classes.find(name => name === text) ?? classes.find(name => name.toLowerCase() === text.toLowerCase());
  if (exact === undefined && first === undefined && !event.shiftKey) return;
  if (event.shiftKey && exact === undefined) classes.push(text);
  event.target.value = "";
  turn(exact ?? (event.shiftKey ? text : first), true);
});

for (const name of ["#state", "#tag", "#minimum"]) find(name).addEventListener("input", refresh);

find("#download").addEventListener("click", () => {
  if (!decided.size) return said("Nothing is decided yet.");
  const address = URL.createObjectURL(new Blob([correctionsText()], {type: "text/csv;charset=utf-8"}));
  element("a", {href: address, download: data.file}).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  said(`${decided.size} clips are in ${data.file}.`);
});

find("#import").addEventListener("change", async event => {
  const [file] = event.target.files;
  if (!file) return;
  try {
    if (file.size > data.maxBytes) throw new Error(`It has ${file.size} bytes, which is too large for a table of corrections.`);
    said(`${takeCorrections(new TextDecoder("utf-8", {fatal: true}).decode(await file.arrayBuffer()))} clips were loaded from ${plain(file.name)}.`);
  } catch (error) {
    said(`${plain(file.name)} was not loaded: ${plain(error.message)}`);
  }
  event.target.value = "";
  learn();
  refresh();
});

find("#accept-all").addEventListener("click", () => {
  const minimum = Number(find("#surely").value);
  const sure = shown().filter(one => stateOf(one) === "undecided" && hasSuggestion(one) && (one.confidence === null || one.confidence >= minimum));
  sure.forEach(accept);
  refresh();
  said(`${sure.length} suggestions were accepted.`);
});

find("#forget-all").addEventListener("click", () => {
  if (!decided.size || !confirm(`Forget the decisions on ${decided.size} clips?`)) return;
  decided.clear();
  keep();
  refresh();
  said("All decisions are forgotten.");
});

// Decisions were made on another page of the same clips.
addEventListener("storage", event => {
  if (event.key !== data.key) return;
  remember();
  learn();
  refresh();
});

// Adds classes of decisions that the corpus does not have.
function learn() {
  for (const its of decided.values()) for (const name of its.labels) if (!classes.includes(name)) classes.push(name);
}

// Quotes a text as one word for a shell.
const word = text => /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

// Pages over plain HTTP have no access to the clipboard.
const copied = async text => navigator.clipboard.writeText(text);

function fillCommands() {
  const values = Object.fromEntries([...document.querySelectorAll("#fields input")].map(field => [field.name, field.value || field.placeholder]));
  const flags = values.flags.trim();
  for (const name in values) values[name] = word(values[name]);
  [values.flags, values.after_dashes] = flags ? [` ${flags}`, ` -- ${flags}`] : ["", ""];
  find("#commands").replaceChildren(...data.commands.map(one => {
    const text = one.text.replace(/\{(\w+)\}/g, (_, name) => values[name]), shown = element("pre", {}, text);
    const copy = element("button", {onclick: () => copied(text).then(() => said("Copied."), () => getSelection().selectAllChildren(shown))}, "copy");
    return element("div", {}, element("div", {}, one.title.endsWith("?") ? one.title : one.title + ":"), element("div", {className: "command"}, shown, copy));
  }));
}

find("#notes").append(...data.notes.map(note => element(note.includes("\n") ? "pre" : "p", {}, named(note))));
find("#fields").append(...data.fields.map(field => element("label", {}, field.title + ": ", element("input", {name: field.name, placeholder: field.value, oninput: fillCommands}))));
const tags = new Map();
for (const one of cases) for (const tag of one.tags) tags.set(tag, (tags.get(tag) ?? 0) + 1);
find("#tag").append(element("option", {value: ""}, "everything"), ...[...tags].map(([tag, times]) => element("option", {value: tag}, `${plain(tag)} (${times})`)));
const isSure = cases.some(one => one.confidence !== null);
for (const name of ["#sure", "#at-least"]) find(name).hidden = !isSure;
find("#bulk").hidden = !cases.some(hasSuggestion);
const heads = ["decision", "clip", "given", "suggested", "confidence", ...data.heads];
find("thead tr").append(...heads.map((head, column) => element("th", {onclick: () => {
  const text = one => rows.get(one).cells[column].textContent, direction = sorted === column ? -1 : 1;
  order.sort((a, b) => direction * text(a).localeCompare(text(b), undefined, {numeric: true}));
  sorted = direction > 0 ? column : null;
  find("tbody").append(...order.map(one => rows.get(one)));
}}, head)));
find("tbody").append(...cases.map(makeRow));
remember();
learn();
fillCommands();
refresh();
if (cases.length) choose(shown()[0] ?? cases[0], false);
else find("#panel").hidden = true;
