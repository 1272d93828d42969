// Brings the input, the network and the answer together.

const contents = JSON.parse(textOf("contents"));
const { input, task, examples } = contents;
const at = (id) => document.getElementById(id);
const TIMED = 50;
const say = (text) => { at("status").textContent = text; };

let network = null, isWaiting = false, answering = null, latest = null, current = -1;

// Answers what is on the pad or in the form; what changes meanwhile is answered next.
function update() {
  isWaiting = true;
  if (network && !answering) answering = answerAll().finally(() => { answering = null; });
  return answering;
}

async function answerAll() {
  while (isWaiting) {
    isWaiting = false;
    const features = form.features();
    latest = null;
    try {
      if (features === null) showNoAnswer(input.kind === "image" ? "Draw something, or choose a picture." : "Correct the fields that are marked.");
      else showAnswer(task, (latest = await network.answer(features)));
    } catch (error) {
      showNoAnswer(`The runtime failed: ${error.message ?? error}`);
    }
  }
}

function changed(byUser) {
  if (byUser) {
    current = -1;
    at("truth").textContent = "";
  }
  update();
}

const form = input.kind === "image" ? imagePad(at("input"), input, changed, say) : tableForm(at("input"), input, changed);

function showExample(step) {
  current = (current + step + examples.length) % examples.length;
  const { features, row, truth } = examples[current];
  const number = current;
  if (input.kind === "image") form.show(floatsOf(features));
  else form.fill(row);
  current = number;
  at("truth").textContent = `Test example ${current + 1} of ${examples.length}. True answer: ${truth}`;
}

function button(text, onClick, properties = {}) {
  const made = element("button", { type: "button", textContent: text, ...properties });
  made.addEventListener("click", onClick);
  return made;
}

const buttons = element("div", { className: "buttons" });
if (examples.length) buttons.append(button("Next example", () => showExample(1), { id: "next" }));
if (input.kind === "image") {
  const chooser = element("input", { type: "file", accept: "image/*", id: "chooser", className: "hidden", tabIndex: -1, ariaLabel: "Picture" });
  chooser.addEventListener("change", () => {
    if (chooser.files.length) form.load(chooser.files[0]);
    chooser.value = "";
  });
  buttons.append(button("Clear", () => form.clear(), { id: "clear" }));
  buttons.append(button("Picture …", () => chooser.click(), { id: "choose" }), chooser);
}
at("input").append(buttons);

at("facts").append(...contents.facts.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]));
at("about").addEventListener("click", () => at("card").showModal());
at("close").addEventListener("click", () => at("card").close());
at("card").addEventListener("click", (event) => event.target === at("card") && at("card").close());
at("save").addEventListener("click", () => {
  if (!network) return;
  const href = URL.createObjectURL(new Blob([network.file], { type: "application/octet-stream" }));
  element("a", { href, download: contents.fileName }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
});

// Compares the answers to the test examples with those of Python.
async function check() {
  let largest = 0, same = 0;
  for (const { features, answer, row } of examples) {
    const expected = floatsOf(answer);
    const given = row ? form.featuresOf(row) : floatsOf(features);
    if (given === null) continue; // the form refuses a value
    const found = await network.answer(given);
    const difference = Math.max(...expected.map((value, index) => Math.abs(value - found[index]) / Math.max(1, Math.abs(value))));
    largest = Math.max(largest, difference);
    same += Number(difference <= 1e-4);
  }
  return { same, largest };
}

// The clock of a page is coarse, so many answers are timed at once.
async function microsecondsPerAnswer() {
  const features = form.features() ?? floatsOf(examples[0].features);
  let best = Infinity;
  for (let round = 0; round < 5; round++) {
    const begin = performance.now();
    for (let i = 0; i < TIMED; i++) await network.answer(features);
    best = Math.min(best, performance.now() - begin);
  }
  return Math.round((1000 * best) / TIMED);
}

const ready = (async () => {
  try {
    network = await startNetwork();
  } catch (error) {
    showNoAnswer("The network cannot run here.");
    say(`The runtime does not start: ${error.message ?? error}.`);
    throw error;
  }
  await update();
  const started = performance.now();
  const { same, largest } = await check();
  const microseconds = examples.length ? await microsecondsPerAnswer() : null;
  const agrees = examples.length ? ` ${same} of ${examples.length} test examples have the same answer as in Python.` : "";
  const time = microseconds ? ` in about ${microseconds} µs` : "";
  say(`Answered by ${contents.runtime} on this device${time}.${agrees} Nothing is sent anywhere.`);
  return { started, same, largest, microseconds };
})();
ready.catch(() => {});
if (examples.length) showExample(1);
else if (input.kind !== "image") form.fill(input.columns.map(() => ""));

self.kerasmlp = {
  contents, ready, form, encodeRow,
  run: (features) => network.answer(features),
  answer: async (features) => { await ready; return Array.from(await network.answer(Float32Array.from(features))); },
  settled: async () => { await answering; return latest && Array.from(latest); },
};
