"use strict";

/* From ink to a network's input, as MNIST's images were made: cropped, fitted into 20×20, and placed
in 28×28 with its centre of mass in the middle. A picture is {height, width, data}, data a Uint8Array
by rows, 0 paper and 255 ink. */

const SIZE = 28;
const BOX = 20;

/** Return ink of any size as a 28×28 picture, null where there is none. */
function digit(ink) {
  const cut = cropped(ink);
  if (!cut) return null;
  const scale = BOX / Math.max(cut.height, cut.width);
  const fit = (length) => Math.max(1, Math.round(length * scale));
  const box = resized(cut, fit(cut.height), fit(cut.width));
  const [y, x] = centre(box);
  const place = (position, length) =>
    Math.min(Math.max(Math.round(SIZE / 2 - position), 0), SIZE - length);
  return placed(box, place(y, box.height), place(x, box.width));
}

/** Return a 28×28 picture as a network's input, scaled as its training images were. */
function networkInput(picture, { image_size: size, scale, shift }) {
  const { data } = resized(picture, size, size);
  const [factor, offset] = [Math.fround(scale), Math.fround(shift)];
  const values = Float32Array.from(data, (pixel) => Math.fround(pixel * factor) + offset);
  return { shape: [1, size, size], data: values };
}

/** Resize bilinearly, first along the width, then along the height, bit for bit as Pillow does. */
function resized(picture, height, width) {
  const rows = stretched(picture, width);
  return transposed(stretched(transposed(rows), height));
}

function stretched({ height, width, data }, size) {
  if (size === width) return { height, width, data };
  const result = { height, width: size, data: new Uint8Array(height * size) };
  const scale = width / size;
  const support = Math.max(scale, 1);
  for (let column = 0; column < size; column++) {
    const middle = (column + 0.5) * scale;
    const first = Math.max(Math.trunc(middle - support + 0.5), 0);
    const last = Math.min(Math.trunc(middle + support + 0.5), width);
    const weights = [];
    for (let x = first; x < last; x++) {
      weights.push(Math.max(1 - Math.abs((x - middle + 0.5) * (1 / support)), 0));
    }
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const whole = weights.map((weight) => Math.floor((weight / total) * 2 ** 22 + 0.5) / 2 ** 22);
    for (let row = 0; row < height; row++) {
      const sum = whole.reduce((value, w, i) => value + w * data[row * width + first + i], 0);
      result.data[row * size + column] = Math.floor(sum + 0.5);
    }
  }
  return result;
}

function transposed({ height, width, data }) {
  const turned = data.map((_, i) => data[(i % height) * width + Math.floor(i / height)]);
  return { height: width, width: height, data: turned };
}

function cropped({ height, width, data }) {
  let [top, bottom, left, right] = [height, -1, width, -1];
  for (let i = 0; i < data.length; i++) {
    if (!data[i]) continue;
    const [y, x] = [Math.floor(i / width), i % width];
    [top, bottom] = [Math.min(top, y), y];
    [left, right] = [Math.min(left, x), Math.max(right, x)];
  }
  if (bottom < 0) return null;
  const cut = { height: bottom - top + 1, width: right - left + 1 };
  cut.data = new Uint8Array(cut.height * cut.width);
  for (let row = 0; row < cut.height; row++) {
    const start = (top + row) * width + left;
    cut.data.set(data.subarray(start, start + cut.width), row * cut.width);
  }
  return cut;
}

function placed(box, top, left) {
  const picture = { height: SIZE, width: SIZE, data: new Uint8Array(SIZE * SIZE) };
  for (let row = 0; row < box.height; row++) {
    const values = box.data.subarray(row * box.width, (row + 1) * box.width);
    picture.data.set(values, (top + row) * SIZE + left);
  }
  return picture;
}

/** Return the centre of mass, [row, column]. */
function centre({ width, data }) {
  let [mass, y, x] = [0, 0, 0];
  data.forEach((value, i) => {
    mass += value;
    y += value * Math.floor(i / width);
    x += value * (i % width);
  });
  return [y / mass, x / mass];
}
