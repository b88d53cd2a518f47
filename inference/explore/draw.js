"use strict";

/* The drawing pad: strokes by pointer or keyboard, an eraser, samples, undo. */

const PEN = 0.075; // widths, as parts of the pad's
const ERASER = 0.13;
const STEP = 1 / 28;
const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

/** Strokes on a canvas.

`changed(done)` is called after each change, done unless a stroke goes on; `tell(text)` says where
the keyboard's pen is. */
class Pad {
  constructor(canvas, cursor, changed, tell) {
    Object.assign(this, { canvas, cursor, changed, tell });
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.actions = []; // {fresh, picture, points, erase}: fresh ones forget all before them
    this.erasing = false;
    this.stroke = null; // the action that is going on
    this.place = [0.5, 0.5]; // the keyboard's pen
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel", "blur"]) {
      canvas.addEventListener(end, () => this.lift());
    }
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("focus", () => this.point(canvas.matches(":focus-visible")));
  }

  /** What is drawn, as a 28×28 picture; null for an empty pad. */
  get picture() {
    const shown = this.shown();
    if (shown.length === 1 && shown[0].picture) return shown[0].picture;
    const { width, height } = this.canvas;
    const { data } = this.context.getImageData(0, 0, width, height);
    const ink = new Uint8Array(width * height);
    for (let i = 0; i < ink.length; i++) ink[i] = data[4 * i + 3];
    return digit({ width, height, data: ink });
  }

  /** Put a sample, or nothing, in place of what is drawn. */
  show(picture = null) {
    this.lift();
    this.actions.push({ fresh: true, picture });
    this.redraw(true);
  }

  undo() {
    this.stroke = null;
    this.actions.pop();
    this.redraw(true);
  }

  redraw(done) {
    const { context, canvas: { width, height } } = this;
    context.globalCompositeOperation = "source-over";
    context.clearRect(0, 0, width, height);
    context.strokeStyle = context.fillStyle = getComputedStyle(this.canvas).color;
    context.lineCap = context.lineJoin = "round";
    for (const { picture, points, erase } of this.shown()) {
      if (picture) this.stamp(picture);
      if (!points) continue;
      context.globalCompositeOperation = erase ? "destination-out" : "source-over";
      context.lineWidth = (erase ? ERASER : PEN) * width;
      context.beginPath();
      const [[x, y], ...rest] = points.map(([u, v]) => [u * width, v * height]);
      context.moveTo(x, y);
      context.lineTo(x, y);
      rest.forEach((point) => context.lineTo(...point));
      context.stroke();
    }
    this.changed(done);
  }

  // Inside

  shown() {
    const start = this.actions.findLastIndex((action) => action.fresh);
    return this.actions.slice(Math.max(start, 0));
  }

  stamp({ width, height, data }) {
    const small = new OffscreenCanvas(width, height);
    const image = new ImageData(width, height);
    data.forEach((value, i) => (image.data[4 * i + 3] = value));
    small.getContext("2d").putImageData(image, 0, 0);
    const { context, canvas } = this;
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    context.globalCompositeOperation = "source-in"; // in the ink's colour
    context.fillRect(0, 0, canvas.width, canvas.height);
  }

  begin(point) {
    const fresh = !this.erasing && Boolean(this.actions.at(-1)?.picture); // draw instead, not on top
    this.stroke = { fresh, erase: this.erasing, points: [point] };
    this.actions.push(this.stroke);
    this.redraw(false);
  }

  extend(points) {
    this.stroke.points.push(...points);
    this.redraw(false);
  }

  lift() {
    if (this.stroke) this.changed(true);
    this.stroke = null;
    this.point(false);
  }

  press(event) {
    if (event.button !== 0 || !event.isPrimary) return;
    this.lift();
    this.canvas.setPointerCapture(event.pointerId);
    this.begin(this.located(event));
  }

  drag(event) {
    if (!this.stroke || !event.isPrimary || !event.buttons) return;
    const steps = event.getCoalescedEvents?.() ?? [];
    this.extend((steps.length ? steps : [event]).map((step) => this.located(step)));
  }

  located({ clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect();
    return [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    const done = { Backspace: () => this.undo(), Delete: () => this.show() }[event.key];
    if (arrow) this.move(arrow.map((step) => step * STEP * (event.shiftKey ? 4 : 1)));
    else if (event.key === " " && this.stroke) this.lift();
    else if (event.key === " ") this.begin([...this.place]);
    else if (done) done();
    else return;
    event.preventDefault();
    this.point(true);
  }

  move(step) {
    this.place = this.place.map((value, i) => Math.min(Math.max(value + step[i], 0), 1));
    if (this.stroke) this.extend([[...this.place]]);
    const [column, row] = this.place.map((value) => Math.round(value / STEP));
    this.tell(`${column} across, ${row} down${this.stroke ? ", drawing" : ""}`);
  }

  /** Show or hide the keyboard's pen. */
  point(visible) {
    this.cursor.hidden = !visible;
    this.cursor.classList.toggle("down", Boolean(this.stroke));
    [this.cursor.style.left, this.cursor.style.top] = this.place.map((v) => `${100 * v}%`);
  }
}
