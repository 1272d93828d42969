// The pad: what is drawn or dropped becomes an image like those of training.

const PAD_PIXELS = 280; // of the longer side

function imagePad(place, input, onChange, onProblem) {
  const { height, width, channels, range, style } = input;
  const [lowest, highest] = range;
  const size = PAD_PIXELS / Math.max(width, height);
  const pad = element("canvas", { id: "pad", width: Math.round(width * size), height: Math.round(height * size), tabIndex: 0,
    className: style.drawn ? "drawn" : "" });
  pad.setAttribute("role", "application");
  pad.setAttribute("aria-label", "Pad to draw on. Arrow keys move the pen, space lowers or lifts it, and Delete clears the pad.");
  const pen = pad.getContext("2d", { willReadFrequently: true });
  const seen = element("canvas", { id: "seen", width, height });
  seen.setAttribute("role", "img");
  seen.setAttribute("aria-label", "What the network sees");
  const hint = element("span", { id: "pad-hint", textContent: style.drawn ? "Draw here, or drop a picture" : "Drop a picture here, or draw" });
  const cursor = element("span", { id: "cursor", hidden: true });
  const frame = element("div", { id: "frame" }, pad, element("span", { id: "ring" }), hint, cursor);
  frame.style.aspectRatio = `${width} / ${height}`;
  const centre = element("input", { type: "checkbox", id: "centre", checked: style.centre !== "none" });
  const invert = element("input", { type: "checkbox", id: "invert" });
  const centreLabel = element("label", { hidden: style.centre === "none" }, centre, "Centre and scale like training images");
  const invertLabel = element("label", { hidden: true }, invert, "Swap light and dark");
  const colour = element("input", { type: "color", value: "#202020", ariaLabel: "Colour of the pen", hidden: style.drawn });
  if (channels === 1) colour.hidden = true;
  const sees = element("figure", {}, seen, element("figcaption", { textContent: "What the network sees" }));
  place.append(frame, element("div", { className: "below" }, sees, element("div", { className: "switches" }, centreLabel, invertLabel, colour)));

  // Features that came as they are, and not from the pad; the picture that was dropped.
  let exact = null, picture = null, isEmpty = true;

  const fromLevel = (level) => lowest + level * (highest - lowest);
  const levelOf = (ink) => style.background + (style.ink - style.background) * ink;
  const inkOf = (level) => Math.min(Math.max((level - style.background) / (style.ink - style.background), 0), 1);

  function fromPad() {
    const pixels = pen.getImageData(0, 0, pad.width, pad.height).data;
    if (style.drawn) {
      const ink = Float32Array.from({ length: pad.width * pad.height }, (_, index) => pixels[4 * index + 3] / 255);
      const rule = centre.checked ? style : { centre: "none" };
      const image = placed(ink, pad.width, pad.height, width, height, rule);
      return image.map((value) => fromLevel(levelOf(value)));
    }
    return together(channelsOf(pixels, channels).map((channel) => resized(channel, pad.width, pad.height, width, height)));
  }

  // Channels of bytes as features.
  function together(own) {
    const features = new Float32Array(width * height * channels);
    own.forEach((channel, shift) => channel.forEach((byte, index) => {
      const level = byte / 255;
      features[index * channels + shift] = fromLevel(invert.checked ? 1 - level : level);
    }));
    return features;
  }

  const features = () => (isEmpty ? null : exact ?? fromPad());

  // Draws features pixel by pixel: with ink of transparency on the pad of drawings.
  function paint(context, own, isInk) {
    const image = new ImageData(width, height);
    for (let index = 0; index < width * height; index++) {
      const levels = [0, 1, 2].map((shift) => (own[index * channels + (channels === 1 ? 0 : shift)] - lowest) / (highest - lowest));
      image.data.set(isInk ? [0, 0, 0, 255 * inkOf(levels[0])] : [...levels.map((level) => 255 * level), 255], 4 * index);
    }
    context.putImageData(image, 0, 0);
  }

  function changed(byUser = true) {
    hint.hidden = !isEmpty;
    const own = features();
    const context = seen.getContext("2d");
    if (own) paint(context, own, false);
    else paint(context, new Float32Array(width * height * channels).fill(fromLevel(style.background)), false);
    onChange(byUser);
  }

  function clear() {
    pen.clearRect(0, 0, pad.width, pad.height);
    if (!style.drawn) {
      const grey = Math.round(255 * style.background);
      pen.fillStyle = `rgb(${grey}, ${grey}, ${grey})`;
      pen.fillRect(0, 0, pad.width, pad.height);
    }
    exact = picture = null;
    isEmpty = true;
    invertLabel.hidden = true;
    invert.checked = false;
    changed();
  }

  function show(own, byUser = false) {
    exact = own;
    isEmpty = false;
    pen.clearRect(0, 0, pad.width, pad.height);
    const small = element("canvas", { width, height });
    paint(small.getContext("2d"), own, style.drawn);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, 0, 0, pad.width, pad.height);
    changed(byUser);
  }

  // Takes the picture that was dropped, after `invert` may have changed.
  function takePicture() {
    const { width: own, height: tall, channels: read } = picture;
    const isExact = own === width && tall === height;
    if (!style.drawn || isExact || !centre.checked) {
      show(together(read.map((channel) => resized(channel, own, tall, width, height))), true);
      return;
    }
    // A photo of a drawing: what differs from the paper is ink.
    const scale = Math.min(1, 400 / Math.max(own, tall));
    const [w, h] = [Math.max(1, Math.round(own * scale)), Math.max(1, Math.round(tall * scale))];
    const grey = resized(read[0], own, tall, w, h);
    const paper = median(borderOf(grey, w, h));
    const isDark = (style.ink < style.background) !== invert.checked;
    const depth = Float32Array.from(grey, (value) => Math.max(isDark ? paper - value : value - paper, 0));
    const deepest = Float32Array.from(depth).sort()[Math.floor(0.995 * (depth.length - 1))] || 1;
    const ink = depth.map((value) => Math.min(Math.max((value / deepest - 0.25) / 0.6, 0), 1));
    const drawn = element("canvas", { width: w, height: h });
    const image = new ImageData(w, h);
    ink.forEach((value, index) => image.data.set([0, 0, 0, 255 * value], 4 * index));
    drawn.getContext("2d").putImageData(image, 0, 0);
    const fit = Math.min(pad.width / w, pad.height / h);
    pen.clearRect(0, 0, pad.width, pad.height);
    pen.imageSmoothingEnabled = true;
    pen.drawImage(drawn, (pad.width - fit * w) / 2, (pad.height - fit * h) / 2, fit * w, fit * h);
    exact = null;
    isEmpty = !ink.some((value) => value >= 0.1);
    changed();
  }

  async function load(file) {
    try {
      picture = await readPicture(file, channels);
    } catch {
      onProblem(`${file.name || "The file"} cannot be read as a picture.`);
      return;
    }
    const border = median(borderOf(picture.channels[0], picture.width, picture.height)) / 255;
    const isOther = Math.abs(border - style.background) > Math.abs(border - style.ink);
    invert.checked = style.drawn && isOther;
    invertLabel.hidden = false;
    takePicture();
  }

  let last = null;

  function line(from, to) {
    exact = picture = null; // what is on the pad is read from there from now on
    invertLabel.hidden = true;
    isEmpty = false;
    Object.assign(pen, { lineWidth: style.pen * pad.width, lineCap: "round", lineJoin: "round", strokeStyle: style.drawn ? "black" : channels === 1 ? "black" : colour.value });
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...to);
    pen.stroke();
  }

  const at = (event) => {
    const box = pad.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * pad.width, ((event.clientY - box.top) / box.height) * pad.height];
  };
  pad.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pad.setPointerCapture(event.pointerId);
    cursor.hidden = true;
    last = at(event);
    line(last, last);
    changed();
  });
  pad.addEventListener("pointermove", (event) => {
    if (!last) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) {
      const next = at(each);
      line(last, next);
      last = next;
    }
    changed();
  });
  for (const name of ["pointerup", "pointercancel"]) pad.addEventListener(name, () => { last = null; });

  const spot = [pad.width / 2, pad.height / 2];
  let isDown = false;
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  pad.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Delete" || event.key === "Backspace") clear();
    else if (event.key === " ") isDown = !isDown;
    else if (!(event.key in moves)) return;
    event.preventDefault();
    const before = [...spot];
    const step = (event.shiftKey ? 2 : 1) * 0.03 * pad.width;
    (moves[event.key] ?? [0, 0]).forEach((each, axis) => {
      spot[axis] = Math.min(Math.max(spot[axis] + step * each, 0), axis ? pad.height : pad.width);
    });
    cursor.hidden = false;
    cursor.classList.toggle("down", isDown);
    cursor.style.left = `${(100 * spot[0]) / pad.width}%`;
    cursor.style.top = `${(100 * spot[1]) / pad.height}%`;
    if (isDown && event.key !== "Delete" && event.key !== "Backspace") {
      line(before, spot);
      changed();
    }
  });
  pad.addEventListener("blur", () => { cursor.hidden = true; isDown = false; });

  centre.addEventListener("change", () => (picture ? takePicture() : changed()));
  invert.addEventListener("change", () => picture && takePicture());
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      if (![...event.dataTransfer.types].includes("Files")) return;
      event.preventDefault();
      frame.classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length) load(event.dataTransfer.files[0]);
    });
  }
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) load(event.clipboardData.files[0]);
  });
  clear();
  return { features, clear, show, load };
}
