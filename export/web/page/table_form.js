// The columns of a table: how what is typed becomes features, as `Encoder.encode` does, and the form.

const OTHER = "\u0000other"; // the choice of a value that training did not have
const LARGEST = 3.4028235e38;
const PLAIN_NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/;
const ISO_DATE = /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?)?$/;
const MICROSECONDS_PER_DAY = 86400e6;

class WrongValue extends Error {}

const readers = {
  number(column, text, words) {
    if (words.missing.includes(text.toLowerCase())) {
      if (column.isRequired) throw new WrongValue("needs a number");
      return null;
    }
    const value = PLAIN_NUMBER.test(text) ? Number(text) : NaN;
    if (!(Math.abs(value) <= LARGEST)) throw new WrongValue("needs a number");
    return value;
  },
  boolean(column, text, words) {
    const word = text.toLowerCase();
    if (words.missing.includes(word)) return null;
    if (words.true.includes(word)) return 1;
    if (words.false.includes(word)) return 0;
    throw new WrongValue("needs yes or no");
  },
  // Microseconds since 1970, or null.
  date(column, text, words) {
    if (words.missing.includes(text.toLowerCase())) return null;
    const parts = ISO_DATE.exec(text);
    if (!parts) throw new WrongValue("needs a date such as 2026-11-25");
    const [year, month, day, hour, minute, second] = parts.slice(1, 7).map((part) => Number(part ?? 0));
    const time = new Date(0);
    time.setUTCFullYear(year, month - 1, day);
    time.setUTCHours(hour, minute, second);
    const isSame = time.getUTCMonth() === month - 1 && time.getUTCDate() === day;
    if (!isSame || hour > 23 || minute > 59 || second > 59) throw new WrongValue("needs a date that exists");
    return time.getTime() * 1000 + Number((parts[7] ?? "").padEnd(6, "0"));
  },
  // The place among the categories, or -1.
  category(column, text, words) {
    let word = text.toLowerCase();
    if (word === words.true[0] || word === words.false[0]) text = word;
    if ((column.isNumeric ? words.missing : words.noCategory).includes(word)) text = "";
    let place = column.categories.indexOf(text);
    const isExact = place >= 0 || !column.isNumeric || !PLAIN_NUMBER.test(text) || Math.abs(Number(text)) >= 2 ** 53;
    if (!isExact) place = column.categories.findIndex((each) => each !== "" && Number(each) === Number(text));
    return place;
  },
};

const encoders = {
  number: (column, value) => [value ?? column.fill, ...(column.hasMissing ? [Number(value === null)] : [])],
  boolean: (column, value) => [value ?? column.fill],
  category: (column, place) => column.categories.map((_, index) => Number(index === place)),
  date(column, value) {
    const features = [value === null ? column.fill : (value - column.origin * MICROSECONDS_PER_DAY) / MICROSECONDS_PER_DAY];
    const time = new Date((value ?? 0) / 1000);
    const places = { month: time.getUTCMonth(), weekday: (time.getUTCDay() + 6) % 7, hour: time.getUTCHours() };
    for (const cycle of column.cycles) features.push(...(value === null ? [0, 0] : cycle.table[places[cycle.name]]));
    if (column.hasMissing) features.push(Number(value === null));
    return features;
  },
};

// Returns the features of a row of texts, Float32Array. An empty text is a missing value.
function encodeRow(columns, row, words) {
  return Float32Array.from(
    columns.flatMap((column, index) => encoders[column.kind](column, readers[column.kind](column, row[index].trim(), words))),
  );
}

const shortNumber = (value) => new Intl.NumberFormat("en", { maximumSignificantDigits: 5 }).format(value);

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria")) made.setAttribute(`aria-${name.slice(4).toLowerCase()}`, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

function option(value, text) {
  return element("option", { value, textContent: text });
}

const controls = {
  number(column) {
    const inputMode = column.low < 0 ? "text" : "decimal"; // the numbers of some phones have no minus sign
    return element("input", { type: "text", inputMode, autocomplete: "off", placeholder: column.isRequired ? "" : "(missing)" });
  },
  date: (column) => element("input", { type: column.hasTime ? "datetime-local" : "date", step: column.hasTime ? "1" : "" }),
  boolean: () => element("select", {}, option("true", "yes"), option("false", "no"), option("", "(missing)")),
  category(column) {
    const known = column.categories.filter((text) => text !== "").map((text) => option(text, text));
    return element("select", {}, ...known, option("", "(missing)"), option(OTHER, "(another value)"));
  },
};

// A value of a row as the control of its column takes it. Controls refuse times with more than three digits of a second.
function shownText(column, text) {
  if (column.kind === "date") return text.slice(0, column.hasTime ? 23 : 10);
  const isKnown = column.kind !== "category" || text === "" || column.categories.includes(text);
  return isKnown ? text : OTHER;
}

function hintOf(column) {
  const unit = column.unit ? ` ${column.unit}` : "";
  if (column.kind === "number" && column.low !== null && column.low === column.high) return `always ${shortNumber(column.low)} in training`;
  if (column.kind === "number" && column.low !== null) return `${shortNumber(column.low)} to ${shortNumber(column.high)}${unit}`;
  if (column.kind === "date" && column.low !== null) return `${column.low.slice(0, 10)} to ${column.high.slice(0, 10)}`;
  return "";
}

// Builds the form. Returns `features()`, which is null while a field is wrong, and `fill(row)`.
function tableForm(place, input, onChange) {
  const { columns, words } = input;
  const fields = columns.map((column, index) => {
    const control = controls[column.kind](column);
    control.id = `field-${index}`;
    const hint = element("span", { className: "hint", id: `hint-${index}`, textContent: hintOf(column) });
    const wrong = element("span", { className: "wrong", id: `wrong-${index}` });
    control.setAttribute("aria-describedby", `${hint.id} ${wrong.id}`);
    const label = element("label", { htmlFor: control.id, textContent: column.name });
    return { column, control, wrong, box: element("div", { className: column.hasTime ? "field wide" : "field" }, label, control, hint, wrong) };
  });
  const form = element("form", { className: "fields", noValidate: true }, ...fields.map(({ box }) => box));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => onChange(true));
  if (columns.length > 24) {
    const search = element("input", { type: "search", placeholder: "Find a column", ariaLabel: "Find a column" });
    search.addEventListener("input", () => {
      for (const { column, box } of fields) box.hidden = !column.name.toLowerCase().includes(search.value.toLowerCase());
    });
    place.append(search);
  }
  place.append(form);
  const typed = ({ column, control }) => {
    if (control.validity.badInput) throw new WrongValue("needs a date");
    // Keyboards of phones may have a comma only. 1,234 may be either number, and is none.
    const isDecimal = column.kind === "number" && /^\s*[-+]?\d*,\d+\s*$/.test(control.value);
    return isDecimal && !/^\s*[-+]?[1-9]\d{0,2},\d{3}\s*$/.test(control.value) ? control.value.replace(",", ".") : control.value;
  };
  const set = (values) => fields.forEach(({ control }, index) => { control.value = values[index]; });
  return {
    features() {
      let isRight = true;
      for (const field of fields) {
        let problem = "";
        try {
          readers[field.column.kind](field.column, typed(field).trim(), words);
        } catch (error) {
          if (!(error instanceof WrongValue)) throw error;
          problem = error.message;
          isRight = false;
        }
        field.wrong.textContent = problem;
        field.control.setAttribute("aria-invalid", String(problem !== ""));
        const { kind, low, high } = field.column;
        const number = kind === "number" ? Number(field.control.value || low) : low;
        field.box.classList.toggle("unusual", kind === "number" && low !== null && (number < low || number > high));
      }
      return isRight ? encodeRow(columns, fields.map(typed), words) : null;
    },
    fill(row) {
      set(row.map((text, index) => shownText(columns[index], text)));
      onChange(false);
    },
    // The features of a row as the form holds it, which then holds what it held before.
    featuresOf(row) {
      const before = fields.map(({ control }) => control.value);
      set(row.map((text, index) => shownText(columns[index], text)));
      const found = this.features();
      set(before);
      this.features(); // marks what is wrong again
      return found;
    },
  };
}
