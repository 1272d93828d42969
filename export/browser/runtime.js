// Unpacks what the page holds, and runs the file in LiteRT.js.

const textOf = (id) => document.getElementById(id).textContent;

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

const floatsOf = (base64) => new Float32Array(bytesOf(base64).buffer);

async function unpacked(id) {
  const stream = new Blob([bytesOf(textOf(id))]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function missingFeature() {
  if (typeof WebAssembly !== "object") return "WebAssembly";
  if (typeof DecompressionStream !== "function") return "DecompressionStream";
  return null;
}

// Returns the network: `answer(features)` gives a promise of Float32Array.
async function startNetwork() {
  const missing = missingFeature();
  if (missing) {
    throw new Error(`this browser has no ${missing}. Chrome 91, Firefox 113, Safari 16.4 and later have it`);
  }
  const [wasm, script, file] = await Promise.all(["litert-wasm", "litert-script", "file"].map(unpacked));
  const element = document.createElement("script");
  element.textContent = new TextDecoder().decode(script);
  document.head.append(element);
  const messages = [];
  const note = (text) => messages.push(text);
  await LiteRT.start({ wasmBinary: wasm, print: note, printErr: note });
  const model = await LiteRT.loadAndCompile(file, { accelerator: "wasm" });
  const { shape } = model.getInputDetails()[0];
  let running = Promise.resolve();
  async function runOne(features) {
    const input = new LiteRT.Tensor(features, Array.from(shape));
    try {
      const [output] = await model.run([input]);
      const values = output.toTypedArray();
      output.delete();
      return values;
    } finally {
      input.delete();
    }
  }
  return {
    file,
    messages,
    answer(features) {
      running = running.catch(() => {}).then(() => runOne(features)); // one after the other
      return running;
    },
  };
}
