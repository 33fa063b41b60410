/** The part of the drawing that is on screen: zoom by button and wheel, and drag. */

import { el } from "./dom.js";

const CLOSEST = 8; // times the size at which the whole network fits
const BY_BUTTON = 1.3;
const BY_WHEEL = 1.15;
const STILL = 4; // pixels that a pointer may move in a click

export class Viewport {
  /** @param {any} canvas the SVG element whose viewBox is moved */
  constructor(canvas) {
    this.canvas = canvas;
    this.zoom = 1;
    this.size = [0, 0];
    this.centre = [0, 0];
    /** Whether the pointer has moved since it went down: its click then opens nothing. */
    this.dragged = false;
    const button = (/** @type {string} */ sign, /** @type {string} */ name, /** @type {() => void} */ act) =>
      el("button", { type: "button", "aria-label": name, onclick: act }, sign);
    this.buttons = el(
      "div.zoom",
      { role: "group", "aria-label": "Zoom" },
      button("+", "Zoom in", () => this.scale(BY_BUTTON)),
      button("−", "Zoom out", () => this.scale(1 / BY_BUTTON)),
      button("⤢", "Show the whole network", () => this.fit()),
    );
    canvas.addEventListener(
      "wheel",
      (/** @type {WheelEvent} */ event) => {
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        this.scale(event.deltaY < 0 ? BY_WHEEL : 1 / BY_WHEEL);
      },
      { passive: false },
    );
    this.listen();
  }

  listen() {
    /** @type {number[] | null} */
    let from = null;
    this.canvas.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
      from = [event.clientX, event.clientY, ...this.centre];
      this.dragged = false;
    });
    window.addEventListener("pointermove", (event) => {
      if (!from || this.zoom <= 1) return;
      const perPixel = this.size[0] / this.zoom / this.canvas.clientWidth;
      const [dx, dy] = [event.clientX - from[0], event.clientY - from[1]];
      if (Math.hypot(dx, dy) > STILL) this.dragged = true;
      this.centre = [from[2] - dx * perPixel, from[3] - dy * perPixel];
      this.apply();
    });
    window.addEventListener("pointerup", () => {
      from = null;
    });
  }

  /**
   * Show the whole of a drawing of another size.
   * @param {number[]} size
   */
  resize(size) {
    this.size = size;
    this.canvas.style.setProperty("--wide", `${size[0]}px`); // below it, letters get too small
    this.fit();
  }

  fit() {
    this.zoom = 1;
    this.centre = [this.size[0] / 2, this.size[1] / 2];
    this.apply();
  }

  /** @param {number} factor */
  scale(factor) {
    const zoom = Math.min(Math.max(this.zoom * factor, 1), CLOSEST);
    if (zoom === 1) return this.fit();
    this.zoom = zoom;
    return this.apply();
  }

  apply() {
    const [width, height] = this.size.map((side) => side / this.zoom);
    const [x, y] = [this.centre[0] - width / 2, this.centre[1] - height / 2];
    this.canvas.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
    this.canvas.classList.toggle("zoomed", this.zoom > 1);
  }
}
