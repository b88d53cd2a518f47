"use strict";

/* Arrays as pictures: a ramp of colours, and tiles side by side on one canvas. */

const GAP = 2;
const GAMMA = 0.65; // small values stay visible

/** Return the page's colours: ramps of 511 packed pixels for values from -1 to 1, and a frame's. */
function ramps() {
  const rgb = (colour) => colour.match(/\d+/g).map(Number);
  const [negative, zero, positive] = [...document.querySelectorAll("#legend i")].map((swatch) =>
    rgb(getComputedStyle(swatch).backgroundColor));
  const { color: ink } = getComputedStyle(document.body);
  return { signed: ramp(negative, zero, positive), ink: ramp(zero, zero, rgb(ink)), frame: ink };
}

function ramp(low, middle, high) {
  return Uint32Array.from({ length: 511 }, (_, i) => {
    const [end, part] = i < 255 ? [low, (255 - i) / 255] : [high, (i - 255) / 255];
    const [r, g, b] = middle.map((value, c) => Math.round(value + (end[c] - value) * part));
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}

/** Paint maps {data, height, width}, `columns` in a row and a value `scale` pixels wide.

Values are shown in parts of `largest`. */
function paint(canvas, maps, { columns, scale, ramp, largest }) {
  const { height, width } = maps[0];
  const [stepX, stepY] = [width * scale + GAP, height * scale + GAP];
  const rows = Math.ceil(maps.length / columns);
  const image = new ImageData(columns * stepX + GAP, rows * stepY + GAP);
  const pixels = new Uint32Array(image.data.buffer);
  maps.forEach(({ data }, number) => {
    const [top, left] = [Math.floor(number / columns) * stepY, (number % columns) * stepX];
    const corner = (top + GAP) * image.width + left + GAP;
    for (let i = 0; i < height * width; i++) {
      const part = Math.max(-1, Math.min(data[i] / largest, 1)) || 0;
      const colour = ramp[Math.round(Math.sign(part) * Math.abs(part) ** GAMMA * 255) + 255];
      let row = corner + (Math.floor(i / width) * image.width + (i % width)) * scale;
      for (let y = 0; y < scale; y++, row += image.width) {
        for (let x = 0; x < scale; x++) pixels[row + x] = colour;
      }
    }
  });
  if (canvas.width !== image.width) canvas.width = image.width;
  if (canvas.height !== image.height) canvas.height = image.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
  Object.assign(canvas, { tiles: { columns, stepX, stepY, count: maps.length } });
}

/** Return the number of the tile that a click on a painted canvas meets, -1 for none. */
function tileAt(canvas, { offsetX, offsetY }) {
  const { columns, stepX, stepY, count } = canvas.tiles;
  const enlarged = canvas.width / canvas.clientWidth;
  const [column, row] = [offsetX * enlarged / stepX, offsetY * enlarged / stepY].map(Math.floor);
  const number = row * columns + column;
  return column < columns && number < count ? number : -1;
}

/** Draw a frame around one tile. */
function frame(canvas, number, colour) {
  const { columns, stepX, stepY } = canvas.tiles;
  const context = canvas.getContext("2d");
  context.strokeStyle = colour;
  context.lineWidth = GAP;
  const [x, y] = [(number % columns) * stepX, Math.floor(number / columns) * stepY];
  context.strokeRect(x + GAP / 2, y + GAP / 2, stepX, stepY);
}

/** Cut [C, H, W] into C maps, [F] into F maps of one value. */
function maps({ shape, data }) {
  const [count, height = 1, width = 1] = shape;
  const size = height * width;
  return Array.from({ length: count }, (_, i) =>
    ({ height, width, data: data.subarray(i * size, (i + 1) * size) }));
}

/** Arrange `count` tiles of `width` values: how many in a row, and pixels for each value. */
function arranged(count, width) {
  const wanted = Math.sqrt(1.6 * count);
  const divisors = Array.from({ length: count }, (_, i) => i + 1).filter((n) => count % n === 0);
  const columns = divisors.reduce((a, b) => (Math.abs(b - wanted) < Math.abs(a - wanted) ? b : a));
  const tile = [[8, 56], [16, 40], [32, 24]].find(([most]) => count <= most)?.[1] ?? 16;
  const scale = width > 1 ? Math.round(tile / width) : count > 200 ? 3 : 9;
  return { columns, scale: Math.max(1, scale) };
}

function largest(data) {
  let value = 0;
  for (const element of data) value = Math.max(value, Math.abs(element));
  return value || 1;
}
