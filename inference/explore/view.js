"use strict";

/* The page: it shows what every layer of the chosen network passes on, as the drawing changes. */

const { networks, samples } = JSON.parse($("data").textContent);
networks.forEach((network) => decode(network.layers));
const pad = new Pad($("pad"), $("cursor"), changed);
let network = networks[0];
let blocks = [];
let colours = ramps();
let times = []; // of the last forward passes, in milliseconds
let later = 0;

function $(id) {
  return document.getElementById(id);
}

/** Make an element with properties and children; names with a dash or `role` become attributes. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// The network's layers

/** Return the layers in blocks: one with weights, and those without that follow it. */
function grouped(layers) {
  const groups = [];
  layers.forEach((layer, position) => {
    if (!groups.length || layer.weights.weight?.shape.length > 1) groups.push([]);
    groups.at(-1).push(position);
  });
  return groups;
}

function choose(number) {
  network = networks[number];
  times = [];
  $("about").textContent = network.about;
  blocks = grouped(network.layers).map((positions) => block(positions));
  $("layers").replaceChildren(...blocks.map(({ element }) => element));
  changed(true);
}

function block(positions) {
  const head = network.layers[positions[0]];
  const made = { positions, chosen: 0, element: make("section", { className: "block" }) };
  made.element.setAttribute("aria-label", positions.map((p) => network.layers[p].name).join(", "));
  if (head.weights.weight) {
    const count = head.weights.weight.shape[0];
    made.filter = stage("filter", "", `weights of ${head.name}`);
    made.slider = make("input", { type: "range", min: 1, max: count, value: 1 });
    made.slider.setAttribute("aria-label", `Map of ${head.name} whose filter is shown`);
    made.slider.oninput = () => pick(made, made.slider.value - 1);
    made.filter.element.append(made.slider);
    made.element.append(made.filter.element);
  }
  made.stages = positions.map((position) => {
    const { name, kind, detail } = network.layers[position];
    const shown = stage(name, `${kind} ${detail}`, name);
    shown.canvas.onclick = (event) => pick(made, tileAt(shown.canvas, event));
    if (position === network.layers.length - 1) {
      const digits = Array.from({ length: 10 }, (_, digit) => make("span", {}, digit));
      shown.canvas.after(make("p", { className: "digits", "aria-hidden": true }, ...digits));
    }
    made.element.append(shown.element);
    return shown;
  });
  return made;
}

function stage(name, detail, label) {
  const canvas = make("canvas", { role: "img", "aria-label": label });
  const fact = make("p");
  const title = make("figcaption", {}, make("b", {}, name), ` ${detail}`);
  return { canvas, fact, element: make("figure", {}, title, canvas, fact) };
}

function pick(made, number) {
  if (number < 0 || !made.slider || number >= made.slider.max) return;
  made.chosen = number;
  made.slider.value = number + 1;
  changed(true);
}

// Redrawing

/** Run the network on what is drawn and show it; once the stroke is done, say the answer too. */
function changed(done) {
  const picture = pad.picture;
  $("hint").hidden = Boolean(picture);
  const blank = { height: SIZE, width: SIZE, data: new Uint8Array(SIZE * SIZE) };
  const input = networkInput(picture ?? blank, network);
  const start = performance.now();
  const outputs = forward(network, input);
  const spent = performance.now() - start;
  times = [...times.slice(-20), spent];
  const median = times.toSorted((a, b) => a - b)[times.length >> 1];
  $("time").textContent = `${median.toFixed(1)} ms a pass`;
  const seen = resized(picture ?? blank, network.image_size, network.image_size);
  paint($("seen"), [seen], { columns: 1, scale: 3, ramp: colours.ink, largest: 255 });
  for (const made of blocks) show(made, outputs, Boolean(picture));
  answer(picture && softmax(outputs.at(-1).data), done);
  clearTimeout(later);
  later = setTimeout(() => others(picture), 80);
}

function show(made, outputs, drawn) {
  const first = made.positions[0];
  made.positions.forEach((position, i) => {
    const { canvas, fact } = made.stages[i];
    const y = outputs[position];
    const tiles = maps(y);
    const values = drawn ? tiles : tiles.map((map) => ({ ...map, data: map.data.map(() => 0) }));
    const last = position === outputs.length - 1;
    const how = last ? { columns: tiles.length, scale: 18 } : arranged(tiles.length, tiles[0].width);
    paint(canvas, values, { ...how, ramp: colours.signed, largest: largest(y.data) });
    if (made.slider && tiles.length === outputs[first].shape[0]) frame(canvas, made.chosen, colours.frame);
    fact.textContent = `${y.shape.join(" × ")}${drawn ? ` · ${summary(network.layers[position], y.data)}` : ""}`;
    canvas.parentElement.classList.toggle("maps", tiles[0].width > 1);
    canvas.setAttribute("aria-label", `${network.layers[position].name}: ${fact.textContent}`);
  });
  if (made.filter) showFilter(made, first ? outputs[first - 1].shape : [1], outputs);
}

/** Show the kernels of the chosen map; all maps' where each has but one. */
function showFilter({ filter, chosen, positions: [first] }, inputs, outputs) {
  const { weight } = network.layers[first].weights;
  const [count, ...inner] = weight.shape;
  const lone = inner[0] === 1;
  const before = outputs.slice(0, first).findLast(({ shape }) => shape.length === 3)?.shape;
  const flattened = inner.length === 1 && network.layers[first - 1]?.kind === "Flatten";
  const shape = flattened ? before ?? [1, SIZE, SIZE] : inner;
  const size = inner.reduce((a, b) => a * b);
  const own = { shape, data: weight.data.subarray(chosen * size, (chosen + 1) * size) };
  const tiles = lone ? maps({ shape: [count, ...inner.slice(1)], data: weight.data }) : maps(own);
  const { columns, scale } = arranged(tiles.length, tiles[0].width);
  const how = { columns, scale: Math.min(scale, lone ? 8 : 6), ramp: colours.signed };
  paint(filter.canvas, tiles, { ...how, largest: largest(lone ? weight.data : own.data) });
  if (lone) frame(filter.canvas, chosen, colours.frame);
  const unit = first === network.layers.length - 1 ? `digit ${chosen}` : `${chosen + 1} of ${count}`;
  filter.fact.textContent = `${unit}: ${inner.join(" × ")}`;
}

/** Say in a few words what a layer passes on. */
function summary({ kind }, data) {
  if (kind === "ReLU") {
    const passed = data.reduce((count, value) => count + (value > 0), 0);
    return `${Math.round((100 * passed) / data.length)} % passed on`;
  }
  return [Math.min(...data), Math.max(...data)].map(signed).join(" … ");
}

function signed(value) {
  return (Math.abs(value) < 100 ? value.toPrecision(2) : value.toFixed(0)).replace("-", "−");
}

function answer(probabilities, done) {
  const best = probabilities ? probabilities.indexOf(Math.max(...probabilities)) : -1;
  $("answer").textContent = probabilities ? best : "–";
  $("sure").textContent = probabilities ? `${percent(probabilities[best])} sure` : "nothing drawn yet";
  [...$("bars").children].forEach((bar, digit) => {
    const part = probabilities?.[digit] ?? 0;
    bar.classList.toggle("best", digit === best);
    bar.style.setProperty("--part", part);
    bar.lastChild.textContent = `${Math.round(100 * part)} %`;
  });
  if (!done) return;
  const second = probabilities?.map((p, digit) => (digit === best ? -1 : p));
  const next = second?.indexOf(Math.max(...second));
  $("live").textContent = probabilities
    ? `${network.name} reads ${best}, ${percent(probabilities[best])}; next ${next}, ${percent(second[next])}.`
    : "The pad is empty.";
}

function percent(part) {
  return `${(100 * part).toFixed(1)} %`;
}

/** Show every network's answer on its button. */
function others(picture) {
  networks.forEach((one, number) => {
    const logits = picture && forward(one, networkInput(picture, one)).at(-1).data;
    $(`says${number}`).textContent = logits ? logits.indexOf(Math.max(...logits)) : "–";
  });
}

// The controls

function theme(dark) {
  document.documentElement.style.colorScheme = dark ? "dark" : "light";
  $("theme").setAttribute("aria-pressed", dark);
  colours = { ...ramps(), frame: getComputedStyle($("legend")).outlineColor };
  for (const [number, { picture }] of samples.entries()) {
    paint($("samples").children[number].firstChild, [picture], { columns: 1, scale: 1, ramp: colours.ink, largest: 255 });
  }
  pad.redraw(false);
}

networks.forEach(({ name }, number) => {
  const button = make("input", { type: "radio", name: "network", checked: !number });
  button.onchange = () => choose(number);
  $("networks").append(make("label", {}, button, name, make("b", { id: `says${number}` }, "–")));
});
for (let digit = 0; digit < 10; digit++) {
  $("bars").append(make("li", {}, make("i"), make("b", {}, digit), " ", make("span")));
}
for (const sample of samples) {
  sample.picture = { height: SIZE, width: SIZE, data: bytes(sample.pixels) };
  const button = make("button", { type: "button" }, make("canvas"));
  button.setAttribute("aria-label", `A ${sample.label}`);
  button.onclick = () => pad.show(sample.picture);
  $("samples").append(button);
}
$("erase").onclick = () => {
  pad.erasing = !pad.erasing;
  $("erase").setAttribute("aria-pressed", pad.erasing);
};
$("undo").onclick = () => pad.undo();
$("clear").onclick = () => pad.show();
$("pad").addEventListener("keydown", ({ key }) => key.toLowerCase() === "e" && $("erase").click());
$("theme").onclick = () => theme($("theme").getAttribute("aria-pressed") === "false");
choose(0);
theme(matchMedia("(prefers-color-scheme: dark)").matches);
pad.show(samples[0].picture);
