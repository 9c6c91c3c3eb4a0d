// Reads and writes tables like hf_audio/data/tables.py: no cell is a spreadsheet formula, and names are split correctly.
const FORMULA = "(?=[' ]*[=+\\-@\\uff1d\\uff0b\\uff0d\\uff20\\t\\r])", CELL = "(?<![^;\\t\\r\\n])";
const TO_MARK = new RegExp(CELL + FORMULA, "g"), MARK = new RegExp(`${CELL}'${FORMULA}`, "g");
const NUMBER = /^[-+](?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|inf)?$/;
const BLANK = "[\\s\\x1c-\\x1f\\x85]", LEAVE_OUT = "-";
const stripped = text => text.replace(new RegExp(`^${BLANK}+|${BLANK}+$`, "g"), "");

function csvText(rows) {
  const cell = text => {
    const marked = NUMBER.test(text) ? text : text.replace(TO_MARK, "'");
    return /[",\r\n]/.test(marked) ? `"${marked.replaceAll('"', '""')}"` : marked;
  };
  return rows.map(row => row.map(cell).join(",") + "\n").join("");
}

// [column names, [[line number, {column: value}] ...]]; throws an Error with a sentence for the user.
function csvRows(text) {
  text = text.replace(/^\uFEFF/, "");
  let line = 1;
  if (/^sep=/i.test(text)) [text, line] = [text.replace(/^[^\n]*\n?/, ""), 2];
  const header = text.split("\n", 1)[0];
  const delimiter = [...",;\t|"].reduce((a, b) => header.split(b).length > header.split(a).length ? b : a);
  const [columns, ...rows] = csvRecords(text, delimiter, line);
  if (!columns) throw new Error("The file is empty; expected a table with clip_id and labels.");
  const names = columns.cells.map(unmarked);
  const twice = names.find((name, place) => name && names.indexOf(name) !== place);
  if (twice !== undefined) throw new Error(`The file has two columns called ${twice}; remove one.`);
  return [names, rows.filter(row => row.cells.some(stripped)).map(row => {
    if (row.cells.slice(names.length).some(stripped)) throw new Error(`Line ${row.line} has ${row.cells.length} values for ${names.length} columns.`);
    return [row.line, Object.fromEntries(names.map((name, place) => [name, unmarked(row.cells[place] ?? "")]))];
  })];
}

const unmarked = cell => stripped(cell).replace(MARK, "");

function csvRecords(text, delimiter, line) {
  const records = [];
  let cells = [], cell = "", quoted = false, begun = line;
  for (let at = 0; at < text.length; at++) {
    const letter = text[at];
    if (letter === "\n") line++;
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[at + 1] === '"') cell += text[++at];
      else quoted = false;
    } else if (letter === '"' && !cell) quoted = true;
    else if (letter === delimiter) { cells.push(cell); cell = ""; }
    else if (letter === "\n") { records.push({line: begun, cells: [...cells, cell]}); [cells, cell, begun] = [[], "", line]; }
    else if (letter !== "\r" || text[at + 1] !== "\n") cell += letter;
  }
  if (quoted) throw new Error(`Line ${begun} has a quotation mark that is never closed.`);
  if (cell || cells.length) records.push({line: begun, cells: [...cells, cell]});
  return records;
}

// The cell is a JSON list if a name could be split, or could mean that the clip is left out.
function namesCell(names) {
  const isPlain = name => name && name === stripped(name) && name[0] !== "[" && !/[;|]/.test(name);
  const isList = !names.every(isPlain) || (names.length === 1 && names[0] === LEAVE_OUT);
  return isList ? JSON.stringify(names) : names.join(";");
}

function namesInCell(cell) {
  if (!cell.startsWith("[")) return [...new Set(cell.replaceAll("|", ";").split(";").map(stripped).filter(Boolean))];
  let found = null;
  try { found = JSON.parse(cell); } catch { /* reported below */ }
  if (!Array.isArray(found) || !found.every(name => typeof name === "string" && name))
    throw new Error(`${cell.slice(0, 100)} is not a JSON list of names, such as ["one; two", "three"]`);
  return [...new Set(found)];
}
