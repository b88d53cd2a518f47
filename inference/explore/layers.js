"use strict";

/* What every layer of a network passes on, in blocks: a layer with weights, the filter of the map
that is chosen, and the layers without weights that follow. */

/** The layers of one network; `changed()` is called when another map is chosen. */
class Layers {
  constructor(network, changed) {
    Object.assign(this, { network, changed });
    this.blocks = grouped(network.layers).map((positions) => this.block(positions));
    this.elements = this.blocks.map(({ element }) => element);
  }

  /** Show outputs, what every layer passes on, in these colours. */
  show(outputs, colours) {
    for (const block of this.blocks) {
      const [first] = block.positions;
      if (first === outputs.length - 1 && !block.picked) block.chosen = argmax(outputs[first].data);
      block.positions.forEach((position, i) => {
        const y = outputs[position];
        const last = position === outputs.length - 1;
        this.showOutput(block.stages[i], this.network.layers[position], y, last, colours);
        const chosen = block.slider && y.shape[0] === outputs[first].shape[0];
        if (chosen) frame(block.stages[i].canvas, block.chosen, colours.frame);
      });
      if (block.slider) this.showFilter(block, outputs, colours);
    }
  }

  // Inside

  block(positions) {
    const { layers } = this.network;
    const head = layers[positions[0]];
    const element = make("section", { className: "block" });
    element.setAttribute("aria-label", positions.map((position) => layers[position].name).join(", "));
    const block = { positions, element, chosen: 0, picked: false };
    if (head.weights.weight) {
      const { shape } = head.weights.weight;
      const label = `Map of ${head.name} whose filter is shown`;
      block.filter = stage(shape.length > 2 ? "filter" : "weights", "");
      block.slider = make("input", { type: "range", min: 1, max: shape[0], "aria-label": label });
      block.slider.oninput = () => this.pick(block, block.slider.value - 1);
      block.filter.element.append(block.slider);
      element.append(block.filter.element);
    }
    block.stages = positions.map((position) => {
      const made = stage(layers[position].name, `${layers[position].kind} ${layers[position].detail}`);
      made.canvas.onclick = (event) => this.pick(block, tileAt(made.canvas, event));
      if (position === layers.length - 1) {
        const digits = Array.from({ length: 10 }, (_, digit) => make("span", {}, digit));
        made.canvas.after(make("p", { className: "digits", "aria-hidden": true }, ...digits));
      }
      element.append(made.element);
      return made;
    });
    return block;
  }

  pick(block, number) {
    if (number < 0 || !block.slider || number >= block.slider.max) return;
    Object.assign(block, { chosen: number, picked: true });
    this.changed();
  }

  showOutput({ canvas, fact, element }, layer, y, last, { signed }) {
    const tiles = maps(y);
    const how = last ? { columns: tiles.length, scale: 18 } : arranged(tiles.length, tiles[0].width);
    paint(canvas, tiles, { ...how, ramp: signed, largest: largest(y.data) });
    fact.textContent = `${y.shape.join(" × ")} · ${summary(layer, y.data)}`;
    canvas.setAttribute("aria-label", `${layer.name}: ${fact.textContent}`);
    element.classList.toggle("maps", tiles[0].width > 1);
  }

  /** Show the kernels that make the chosen map; all maps' where each has but one. */
  showFilter({ filter, slider, chosen, positions: [first] }, outputs, { signed, frame: colour }) {
    const { layers, image_size: side } = this.network;
    const { shape: [count, ...inner], data } = layers[first].weights.weight;
    const size = inner.reduce((a, b) => a * b);
    const own = data.subarray(chosen * size, (chosen + 1) * size);
    const lone = inner[0] === 1;
    let tiles = maps(lone ? { shape: [count, ...inner.slice(1)], data } : { shape: inner, data: own });
    if (layers[first - 1]?.kind === "Flatten") { // as the maps were before
      const image = outputs.slice(0, first).findLast(({ shape }) => shape.length === 3);
      tiles = maps({ shape: image?.shape ?? [1, side, side], data: own });
    }
    const { columns, scale } = arranged(tiles.length, tiles[0].width);
    const how = { columns, scale: Math.min(scale, lone ? 8 : 6), ramp: signed };
    paint(filter.canvas, tiles, { ...how, largest: largest(lone ? data : own) });
    if (lone) frame(filter.canvas, chosen, colour);
    slider.value = chosen + 1;
    const which = first === layers.length - 1 ? `digit ${chosen}` : `${chosen + 1} of ${count}`;
    filter.fact.textContent = `${which}: ${inner.join(" × ")}`;
    filter.canvas.setAttribute("aria-label", `Weights of ${layers[first].name}, ${which}`);
  }
}

/** Return the layers' positions in blocks. */
function grouped(layers) {
  const groups = [];
  layers.forEach((layer, position) => {
    if (!groups.length || layer.weights.weight?.shape.length > 1) groups.push([]);
    groups.at(-1).push(position);
  });
  return groups;
}

function stage(name, detail) {
  const canvas = make("canvas", { role: "img" });
  const fact = make("p");
  const title = make("figcaption", {}, make("b", {}, name), ` ${detail}`);
  return { canvas, fact, element: make("figure", {}, title, canvas, fact) };
}

/** Say in a few words what a layer passes on. */
function summary({ kind }, data) {
  if (kind === "ReLU") {
    const passed = data.reduce((count, value) => count + (value > 0), 0);
    return `${Math.round((100 * passed) / data.length)} % passed`;
  }
  return [Math.min(...data), Math.max(...data)].map(rounded).join(" … ");
}

function rounded(value) {
  return (Math.abs(value) < 100 ? value.toPrecision(2) : value.toFixed(0)).replace("-", "−");
}

function argmax(values) {
  return values.indexOf(Math.max(...values));
}

/** Make an element; what is no property of it becomes an attribute. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
