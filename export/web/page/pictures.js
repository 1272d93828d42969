// Reads, resizes and places pictures.

const LUMA = [19595, 38470, 7471]; // of red, green and blue, as Pillow weighs them, of 65,536
const greyAt = (pixels, at) => (pixels[at] * LUMA[0] + pixels[at + 1] * LUMA[1] + pixels[at + 2] * LUMA[2] + 0x8000) >> 16;

// The channels of RGBA pixels: one of grey, or red, green and blue; each Uint8ClampedArray.
function channelsOf(pixels, channels) {
  const pick = (value) => Uint8ClampedArray.from({ length: pixels.length / 4 }, (_, index) => value(4 * index));
  return channels === 1 ? [pick((at) => greyAt(pixels, at))] : [0, 1, 2].map((shift) => pick((at) => pixels[at + shift]));
}

// Sums of a picture over the rectangles from its corner, so that any rectangle has its mean at once.
class Areas {
  constructor(values, width, height) {
    Object.assign(this, { width, height, sums: new Float64Array((width + 1) * (height + 1)) });
    for (let y = 0; y < height; y++) {
      let row = 0;
      for (let x = 0; x < width; x++) {
        row += values[y * width + x];
        this.sums[(y + 1) * (width + 1) + x + 1] = this.sums[y * (width + 1) + x + 1] + row;
      }
    }
  }

  upTo(x, y) {
    x = Math.min(Math.max(x, 0), this.width);
    y = Math.min(Math.max(y, 0), this.height);
    const left = Math.min(Math.floor(x), this.width - 1), top = Math.min(Math.floor(y), this.height - 1);
    const u = x - left, v = y - top, place = top * (this.width + 1) + left, below = place + this.width + 1;
    const { sums } = this;
    return (1 - v) * ((1 - u) * sums[place] + u * sums[place + 1]) + v * ((1 - u) * sums[below] + u * sums[below + 1]);
  }

  // The mean of a rectangle; what is outside of the picture counts as 0.
  mean(x, y, width, height) {
    const sum = this.upTo(x + width, y + height) - this.upTo(x, y + height) - this.upTo(x + width, y) + this.upTo(x, y);
    return Math.max(sum, 0) / (width * height);
  }
}

// Returns ink of any size as an image of `width` x `height`, centred and scaled as `style` says.
function placed(ink, inkWidth, inkHeight, width, height, style) {
  const image = new Float32Array(width * height);
  const areas = new Areas(ink, inkWidth, inkHeight);
  let stepX = inkWidth / width, stepY = inkHeight / height, startX = 0, startY = 0;
  if (style.centre !== "none") {
    let left = inkWidth, right = -1, top = inkHeight, bottom = -1, sum = 0, sumX = 0, sumY = 0;
    ink.forEach((value, index) => {
      if (value < 0.1) return;
      const x = index % inkWidth, y = (index - x) / inkWidth;
      left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = Math.max(bottom, y);
      sum += value; sumX += value * (x + 0.5); sumY += value * (y + 0.5);
    });
    if (!sum) return image;
    stepX = stepY = Math.max((right + 1 - left) / style.fitWidth, (bottom + 1 - top) / style.fitHeight);
    const [x, y] = style.centre === "mass" ? [sumX / sum, sumY / sum] : [(left + right + 1) / 2, (top + bottom + 1) / 2];
    startX = x - style.x * stepX;
    startY = y - style.y * stepY;
  }
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      image[row * width + column] = areas.mean(startX + column * stepX, startY + row * stepY, stepX, stepY);
    }
  }
  return image;
}

const filters = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bicubic: {
    support: 2,
    weight(x) {
      x = Math.abs(x);
      if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
      return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
    },
  },
};

// Resizes along one axis as Pillow does, which read the images of training.
function resizedAxis(values, count, length, newLength, at, newAt) {
  const { support, weight } = newLength < length ? filters.box : filters.bicubic;
  const step = length / newLength, stretch = Math.max(step, 1);
  const resized = new Uint8ClampedArray(count * newLength);
  for (let place = 0; place < newLength; place++) {
    const middle = (place + 0.5) * step;
    const first = Math.max(Math.trunc(middle - support * stretch + 0.5), 0);
    const last = Math.min(Math.trunc(middle + support * stretch + 0.5), length);
    const weights = [];
    for (let each = first; each < last; each++) weights.push(weight((each - middle + 0.5) / stretch));
    const total = weights.reduce((sum, each) => sum + each, 0);
    for (let line = 0; line < count; line++) {
      let sum = 0;
      weights.forEach((each, index) => { sum += each * values[at(line, first + index)]; });
      resized[newAt(line, place)] = Math.floor(sum / total + 0.5);
    }
  }
  return resized;
}

function resized(channel, width, height, newWidth, newHeight) {
  let values = channel;
  if (newWidth !== width) {
    values = resizedAxis(values, height, width, newWidth, (y, x) => y * width + x, (y, x) => y * newWidth + x);
  }
  if (newHeight !== height) {
    values = resizedAxis(values, newWidth, height, newHeight, (x, y) => y * newWidth + x, (x, y) => y * newWidth + x);
  }
  return values;
}

function median(values) {
  const sorted = Float32Array.from(values).sort();
  return sorted.length ? sorted[sorted.length >> 1] : 0;
}

function borderOf(values, width, height) {
  return values.filter((_, index) => {
    const x = index % width, y = (index - x) / width;
    return x === 0 || y === 0 || x === width - 1 || y === height - 1;
  });
}

// Reads a file as the channels of its pixels, upright and on white, each Uint8ClampedArray.
async function readPicture(file, channels) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, 4096 / Math.max(bitmap.width, bitmap.height)); // some browsers have no larger canvas
  const width = Math.max(1, Math.round(bitmap.width * scale)), height = Math.max(1, Math.round(bitmap.height * scale));
  const context = element("canvas", { width, height }).getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height).data;
  return { width, height, channels: channelsOf(pixels, channels) };
}
