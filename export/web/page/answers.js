// Shows what the network answers: probabilities of classes or labels, numbers, or quantiles.

const percent = (share) => (share >= 0.9995 && share < 1 ? "> 99.9 %" : `${(100 * share).toFixed(1)} %`);
const MOST_BARS = 12; // of more classes, the most probable ones are shown

function bar(name, share, { text = percent(share), isChosen = false, tick = null } = {}) {
  const track = element("span", { className: "track", ariaHidden: "true" });
  track.append(element("span", { className: "fill" }));
  track.firstChild.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
  if (tick !== null) {
    track.append(element("span", { className: "tick" }));
    track.lastChild.style.left = `${100 * tick}%`;
  }
  const row = element("li", { className: isChosen ? "chosen" : "" });
  row.append(element("span", { className: "name", textContent: name, title: name }), track);
  row.append(element("span", { className: "value", textContent: text }));
  return row;
}

function list(rows) {
  const made = element("ul", { className: "bars" }, ...rows);
  const longest = Math.max(...rows.map((row) => row.firstChild.textContent.length));
  made.style.setProperty("--name", `${0.62 * Math.min(Math.max(longest, 2), 16)}em`);
  return made;
}

// A line from the lowest to the highest number of training, with an interval and a mark.
function scale(range, low, high, value) {
  const [first, last] = range;
  const at = (number) => `${100 * Math.min(Math.max((number - first) / (last - first), 0), 1)}%`;
  const line = element("div", { className: "scale", ariaHidden: "true" });
  if (low !== null) {
    const band = element("span", { className: "band" });
    band.style.left = at(low);
    band.style.right = `calc(100% - ${at(high)})`;
    line.append(band);
  }
  const mark = element("span", { className: "mark" });
  mark.style.left = at(value);
  line.append(mark);
  const ends = element("div", { className: "ends", ariaHidden: "true" });
  ends.append(element("span", { textContent: shortNumber(first) }), element("span", { textContent: shortNumber(last) }));
  return [line, ends];
}

function target(name, isOnly, ...children) {
  return element("div", { className: "target" }, ...(isOnly ? [] : [element("h3", { textContent: name })]), ...children);
}

// Each returns the headline, a detail and the elements below them.
const shown = {
  classification(task, values) {
    const order = [...values.keys()].sort((a, b) => values[b] - values[a]);
    const best = task.threshold === null ? order[0] : Number(values[1] >= Math.fround(task.threshold));
    const indices = values.length <= MOST_BARS ? [...values.keys()] : order.slice(0, MOST_BARS);
    const rows = indices.map((index) => {
      const tick = task.threshold === null ? null : index ? task.threshold : 1 - task.threshold;
      return bar(task.names[index], values[index], { isChosen: index === best, tick });
    });
    const rest = values.length - indices.length;
    const parts = rest ? [list(rows), element("p", { className: "hint", textContent: `and ${rest} less probable classes` })] : [list(rows)];
    return [task.names[best], percent(values[best]), parts];
  },
  multi_label(task, values) {
    const has = Array.from(values, (value, index) => value >= Math.fround(task.thresholds[index]));
    const chosen = task.names.filter((_, index) => has[index]);
    const rows = task.names.map((name, index) =>
      bar(name, values[index], { isChosen: has[index], tick: task.thresholds[index] }),
    );
    return [chosen.join(", ") || "none", `${chosen.length} of ${task.names.length} labels`, [list(rows)]];
  },
  regression(task, values) {
    const isOnly = task.names.length === 1;
    const parts = task.names.map((name, index) => {
      const half = task.halfWidths ? task.halfWidths[index] : null;
      const value = values[index];
      const [low, high] = half === null ? [null, null] : [value - half, value + half];
      const words = half === null ? "" : `${shortNumber(100 * task.coverage)} % interval: ${shortNumber(low)} to ${shortNumber(high)}`;
      const line = element("p", { className: "interval", textContent: words });
      const number = isOnly ? [] : [element("p", { className: "number", textContent: shortNumber(value) })];
      return target(name, isOnly, ...number, ...scale(task.ranges[index], low, high, value), line);
    });
    return isOnly ? [shortNumber(values[0]), task.names[0], parts] : [null, "", parts];
  },
  quantiles(task, values) {
    const count = task.quantiles.length, isOnly = task.names.length === 1;
    const middle = task.quantiles.reduce((best, each, index) => (Math.abs(each - 0.5) < Math.abs(task.quantiles[best] - 0.5) ? index : best), 0);
    const parts = task.names.map((name, index) => {
      const own = values.slice(index * count, (index + 1) * count);
      const rows = task.quantiles.map((quantile, place) =>
        element("li", { className: place === middle ? "chosen" : "" },
          element("span", { className: "name", textContent: `${shortNumber(100 * quantile)} % are below` }),
          element("span", { className: "value", textContent: shortNumber(own[place]) })),
      );
      return target(name, isOnly, ...scale(task.ranges[index], own[0], own[count - 1], own[middle]),
        element("ul", { className: "quantiles" }, ...rows));
    });
    if (!isOnly) return [null, "", parts];
    const between = `${shortNumber(Math.round(1e6 * (task.quantiles[count - 1] - task.quantiles[0])) / 1e4)} %`;
    const ends = `${shortNumber(values[0])} to ${shortNumber(values[count - 1])}`;
    return [shortNumber(values[middle]), `${task.names[0]}; ${between} interval: ${ends}`, parts];
  },
};

let speaking = null;

// Screen readers hear an answer when the user pauses.
function speak(text) {
  clearTimeout(speaking);
  speaking = setTimeout(() => { document.getElementById("spoken").textContent = text; }, 700);
}

function showAnswer(task, values) {
  const [headline, detail, parts] = shown[task.kind](task, values);
  const words = headline ?? task.names.map((name, index) => `${name} ${shortNumber(values[index * (values.length / task.names.length)])}`).join(", ");
  const title = document.getElementById("headline");
  title.textContent = headline ?? "";
  title.hidden = headline === null;
  document.getElementById("detail").textContent = detail;
  document.getElementById("bars").replaceChildren(...parts);
  document.getElementById("answer").classList.remove("waiting");
  speak(`Answer: ${words}. ${detail}`);
}

function showNoAnswer(text) {
  document.getElementById("headline").hidden = false;
  document.getElementById("headline").textContent = "–";
  document.getElementById("detail").textContent = text;
  document.getElementById("answer").classList.add("waiting");
  document.getElementById("truth").textContent = "";
  speak(text);
}
