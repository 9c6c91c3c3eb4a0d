// The view: the list, the selected clip, and the commands.
const MAX_CHIPS = 40;
// Characters in names that reorder or hide text are shown as escapes, except joiners, which some scripts need.
const plain = text => text.replace(/(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, one => `\\u{${one.codePointAt(0).toString(16)}}`);
const short = text => { const letters = [...plain(text)]; return named(letters.length > 200 ? letters.slice(0, 199).join("") + "…" : letters.join("")); };
const names = list => list.length ? list.map(one => plain(one)).join("; ") : "none";
const rows = new Map(), classes = [...data.classes];
let order = [...cases], current = null, sorted = null;

function fillRow(one) {
  const state = stateOf(one), row = rows.get(one), its = decided.get(one.id);
  row.cells[0].replaceChildren(element("span", {className: state}, state), state === "corrected" ? named(": " + names(its.labels)) : "");
}

function makeRow(one) {
  const suggested = one.drops ? "drop" : one.suggested === null ? "" : names(one.suggested);
  const cells = ["", short(one.id), short(names(one.given)), short(suggested), one.confidence === null ? "" : one.confidence.toFixed(3), ...one.facts.map(named)];
  const row = element("tr", {className: one.level, onclick: () => choose(one)}, ...cells.map(cell => element("td", {}, cell)));
  rows.set(one, row);
  return row;
}

function isShown(one) {
  const [state, tag] = [find("#state").value, find("#tag").value];
  return (!state || stateOf(one) === state) && (!tag || one.tags.includes(tag))
    && (one.confidence === null || one.confidence >= Number(find("#minimum").value));
}

const shown = () => order.filter(one => !rows.get(one).hidden);

function refresh() {
  const counts = {undecided: 0, kept: 0, corrected: 0, dropped: 0};
  for (const one of cases) {
    fillRow(one);
    rows.get(one).hidden = !isShown(one);
    counts[stateOf(one)]++;
  }
  find("#shown").textContent = `${shown().length} of ${cases.length}`;
  const others = [...decided.keys()].filter(id => !byId.has(id)).length;
  find("#progress").textContent = `Decided: ${cases.length - counts.undecided} (${counts.kept} kept, ${counts.corrected} corrected, ${counts.dropped} dropped)`
    + (others ? `, and ${others} clips on other pages.` : ".");
  if (current) fillPanel();
}

function choose(one, plays = find("#at-once").checked) {
  if (current) rows.get(current).classList.remove("current");
  current = one;
  rows.get(one).classList.add("current");
  rows.get(one).scrollIntoView({block: "nearest"});
  find("#name").replaceChildren(short(one.id));
  find("#facts").replaceChildren(...one.facts.map((fact, place) => element("div", {}, data.heads[place] + ": ", named(fact))));
  find("#sounds").replaceChildren(...one.sounds.map(sound => element("div", {}, one.sounds.length > 1 ? short(sound.name) : "", element("audio", {controls: true, preload: "none", src: sound.address}))),
    one.sounds.length ? "" : "The recording was not found.");
  find("#plot").hidden = !one.plot;
  if (one.plot) find("#plot").src = one.plot;
  find("#class").value = "";
  fillPanel();
  if (plays) playNext();
}

// Plays the first sound. If one is playing, stops it and plays the next, if any.
function playNext() {
  const sounds = [...document.querySelectorAll("#sounds audio")], playing = sounds.findIndex(sound => !sound.paused);
  if (playing >= 0) sounds[playing].pause();
  const next = sounds[playing + 1];
  if (next) next.play().catch(error => { if (error.name !== "AbortError") said("This browser cannot play the recording: " + error.message); });
}

function fillPanel() {
  const one = current, state = stateOf(one);
  find("#labels").replaceChildren(element("span", {className: state}, state), ". Given: ", short(names(one.given)),
    hasSuggestion(one) ? ". Suggested: " : "", one.drops ? "drop" : one.suggested ? short(names(one.suggested)) : "");
  find("#accept").disabled = !hasSuggestion(one);
  fillChips();
}

function found() {
  const sought = find("#class").value.trim().toLowerCase();
  const of = [...new Set([...labelsOf(current), ...current.given, ...(current.suggested ?? [])])];
  return [...of, ...without(classes, of)].filter(name => name.toLowerCase().includes(sought));
}

function fillChips() {
  const [labels, unknown, all] = [decided.get(current.id)?.drop ? [] : labelsOf(current), unknownOf(current), found()];
  find("#chips").replaceChildren(...all.slice(0, MAX_CHIPS).map(name => {
    const state = labels.includes(name) ? "present" : data.isPartial && unknown.includes(name) ? "unknown" : "absent";
    const isNew = (current.suggested ?? []).includes(name) && !current.given.includes(name);
    return element("button", {className: state + (isNew ? " suggested" : ""), title: state, onclick: () => turn(name)}, short(name));
  }), all.length > MAX_CHIPS ? `${all.length - MAX_CHIPS} more` : "");
  const text = find("#class").value.trim();
  find("#hint").textContent = text && !all.length ? "no class has this name; Shift and Enter create it" : "";
}

// Switches a class. In single-label data it becomes the only one; in multi-label data it switches between present and
// absent. With partial labels, a click goes from present to unknown to absent; typed names are present or absent.
function turn(name, isTyped = false) {
  const [labels, unknown] = [labelsOf(current), unknownOf(current)], isUnknown = data.isPartial && unknown.includes(name);
  if (!data.isMulti) return decideAndGoOn(() => decide(current, [name]));
  const clicked = data.isPartial && !isTyped;
  if (labels.includes(name)) decide(current, without(labels, [name]), clicked ? [...unknown, name] : unknown);
  else if (isUnknown && clicked) decide(current, labels, without(unknown, [name]));
  else decide(current, [...labels, name], without(unknown, [name]));
  refresh();
}

function decideAndGoOn(act) {
  if (!current) return;
  const list = shown(), next = list[list.indexOf(current) + 1];
  said("");
  act();
  refresh();
  find("#class").blur();
  if (next) choose(next);
}

function go(step) {
  const list = shown(), place = list.indexOf(current) + step;
  if (list.length) choose(list[Math.max(0, Math.min(list.length - 1, place))]);
}

const acts = {
  keep: () => decideAndGoOn(() => decide(current, current.given, current.unknown)),
  accept: () => current && hasSuggestion(current) && decideAndGoOn(() => accept(current)),
  drop: () => decideAndGoOn(() => drop(current)),
  undo: () => { if (current) { forget(current); refresh(); } },
};
