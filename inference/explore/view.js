"use strict";

/* The page: the chosen network runs on what is drawn, while it is drawn. */

const $ = (id) => document.getElementById(id);
const { networks, samples } = JSON.parse($("data").textContent);
networks.forEach((network) => decode(network.layers));
const pad = new Pad($("pad"), $("cursor"), changed, tell);
const blank = { height: SIZE, width: SIZE, data: new Uint8Array(SIZE * SIZE) };
let [network] = networks;
let layers = null;
let colours = null;
let times = []; // of the last forward passes, in milliseconds
let later = 0;

function choose(number) {
  network = networks[number];
  layers = new Layers(network, () => changed(false));
  times = [];
  $("about").textContent = network.about;
  $("layers").replaceChildren(...layers.elements);
  changed(true);
}

/** Run the network on what is drawn and show it; once a stroke is done, say the answer too. */
function changed(done) {
  const { picture } = pad;
  const input = networkInput(picture ?? blank, network);
  const start = performance.now();
  const outputs = forward(network, input);
  times = [...times.slice(-20), performance.now() - start];
  layers.show(picture ? outputs : outputs.map(({ shape }) => array(shape)), colours);
  const seen = resized(picture ?? blank, network.image_size, network.image_size);
  paint($("seen"), [seen], { columns: 1, scale: 3, ramp: colours.ink, largest: 255 });
  $("hint").hidden = Boolean(picture);
  answer(picture && softmax(outputs.at(-1).data), done);
  clearTimeout(later);
  later = setTimeout(() => others(picture), 80);
}

function answer(probabilities, done) {
  const best = probabilities ? argmax(probabilities) : -1;
  $("answer").textContent = probabilities ? best : "–";
  $("sure").textContent = probabilities ? `${percent(probabilities[best])} sure` : "nothing drawn";
  $("time").textContent = `${times.toSorted((a, b) => a - b)[times.length >> 1].toFixed(1)} ms a pass`;
  [...$("bars").children].forEach((bar, digit) => {
    const part = probabilities?.[digit] ?? 0;
    bar.classList.toggle("best", digit === best);
    bar.style.setProperty("--part", part);
    bar.lastChild.textContent = `${Math.round(100 * part)} %`;
  });
  if (!done) return;
  if (!probabilities) return tell("The pad is empty.");
  const next = argmax(probabilities.map((part, digit) => (digit === best ? -1 : part)));
  const [first, second] = [best, next].map((digit) => `${digit}, ${percent(probabilities[digit])}`);
  tell(`${network.name} reads ${first}; next ${second}.`);
}

function tell(text) {
  $("live").textContent = text;
}

function percent(part) {
  return `${(100 * part).toFixed(1)} %`;
}

/** Show every network's answer on its button. */
function others(picture) {
  networks.forEach((one, number) => {
    const outputs = picture && forward(one, networkInput(picture, one));
    $(`says${number}`).textContent = picture ? argmax(outputs.at(-1).data) : "–";
  });
}

function theme(dark) {
  document.documentElement.style.colorScheme = dark ? "dark" : "light";
  $("theme").setAttribute("aria-pressed", dark);
  colours = ramps();
  samples.forEach(({ picture, canvas }) =>
    paint(canvas, [picture], { columns: 1, scale: 1, ramp: colours.ink, largest: 255 }));
  if (layers) pad.redraw(false);
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
  sample.canvas = make("canvas");
  const label = `A ${sample.label}`;
  const button = make("button", { type: "button", "aria-label": label }, sample.canvas);
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
const scheme = matchMedia("(prefers-color-scheme: dark)");
scheme.onchange = () => theme(scheme.matches);
theme(scheme.matches);
choose(0);
pad.show(samples[0].picture);
