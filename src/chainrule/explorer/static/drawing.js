/** The network, drawn: the numbers of its parts, what is lit, and what a click or a key opens. */

import { el, svg } from "./dom.js";
import { describe, facts, summary } from "./facts.js";
import { neighbour, setTabStop } from "./keyboard.js";
import { isActive, isReached, partsOf } from "./lit.js";
import { brief, drawn, number } from "./numbers.js";
import { isImage, Shape } from "./shape.js";
import { cellAt, markCell, paintStrip } from "./strip.js";
import { middleOf, Tip } from "./tip.js";
import { Viewport } from "./viewport.js";

/** @typedef {import("./types").Frame} Frame */
/** @typedef {import("./types").Part} Part */

const UNKNOWN = "·"; // in place of a number that no step has computed yet

export class Drawing {
  /**
   * @param {{ open(target: string): void, showUnit(layer: number, unit: number): void }} owner
   */
  constructor(owner) {
    this.owner = owner;
    /** @type {Frame | null} */
    this.frame = null;
    /** @type {Shape | null} */
    this.shape = null;
    this.key = "";
    /** What the tip shows. @type {{ part: Part, at: number[] } | null} */
    this.tipped = null;
    this.selected = "";
    /** @type {{ layer: number, units: number[] } | null} */
    this.path = null;
    /** Parts that a lesson lights. @type {string[]} */
    this.lit = [];
    /** @type {import("./lit").Step | null} */
    this.step = null;
    /** @type {Map<string, Part>} */
    this.parts = new Map();
    this.canvas = svg("svg.network", { role: "group", "aria-label": "The network" });
    this.viewport = new Viewport(this.canvas);
    this.tip = new Tip();
    this.examined = false; // whether an exercise is open, whose answer must not be shown
    this.node = el("div.drawing", {}, el("div.slide", {}, this.canvas), this.viewport.buttons, this.tip.node);
    this.listen();
  }

  listen() {
    const open = (/** @type {any} */ event) => {
      const part = event.target.closest("[data-target]");
      if (part) this.owner.open(part.dataset.target);
      const cell = event.target.closest("[data-layer]");
      if (cell) this.openCell(cell, event);
    };
    this.canvas.addEventListener("click", (/** @type {any} */ event) => {
      if (!this.viewport.dragged) open(event);
    });
    this.canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        open(event);
      } else this.walk(event);
    });
    this.canvas.addEventListener("pointermove", (/** @type {any} */ event) => this.hover(event.target, event));
    this.canvas.addEventListener("pointerleave", () => this.hideTip());
    this.canvas.addEventListener("focusin", (/** @type {any} */ event) => this.hover(event.target, null));
    this.canvas.addEventListener("focusout", () => this.hideTip());
  }

  /** @param {Frame} frame */
  update(frame) {
    this.frame = frame;
    const key = Shape.key(frame);
    if (key !== this.key) {
      this.key = key;
      this.shape = new Shape(frame);
      this.parts = this.shape.parts;
      this.hideTip(); // its part is gone
      this.canvas.replaceChildren(...this.shape.nodes);
      this.viewport.resize(this.shape.size);
      setTabStop(this.parts, this.shape.order.flat()[0]);
    }
    this.canvas.setAttribute("aria-label", summary(frame));
    this.paint(frame);
  }

  /**
   * Leave out the derivatives, or show them again.
   * @param {boolean} on
   */
  examine(on) {
    this.examined = on;
    this.hideTip();
    if (this.frame) this.paint(this.frame);
  }

  // --- the numbers -------------------------------------------------------------------------------

  /** @param {Frame} frame */
  paint(frame) {
    const largest = frame.weights.map((w) => Math.max(...w.w.flat().map((v) => Math.abs(drawn(v))), 1e-12));
    for (const part of this.parts.values()) {
      if (part.kind === "w") this.paintEdge(frame, part, largest[part.layer - 1]);
      else if (part.kind === "a") this.paintUnit(frame, part);
      else if (part.kind === "b" || part.kind === "array")
        part.node.setAttribute("aria-label", describe(frame, part, this.examined));
      else if (part.kind === "strip") paintStrip(part, frame.layers[part.layer].a, isImage(frame, part.layer));
      else if (part.kind === "y") part.node.textContent = `y = ${number(frame.sample.y[part.j], 3)}`;
      else this.paintLoss(frame, part);
    }
    this.light();
    if (this.tipped) this.tip.show(facts(frame, this.tipped.part, this.examined), this.tipped.at); // training goes on
  }

  /**
   * @param {Frame} frame
   * @param {Part} part
   * @param {number} largest
   */
  paintEdge(frame, part, largest) {
    const w = frame.weights[part.layer - 1].w[part.row][part.from];
    part.line.style.strokeWidth = String(0.8 + (4.6 * Math.abs(drawn(w))) / largest);
    part.node.classList.toggle("negative", drawn(w) < 0);
    if (part.label) part.label.textContent = brief(w);
    part.node.setAttribute("aria-label", describe(frame, part, this.examined));
  }

  /**
   * @param {Frame} frame
   * @param {Part} part
   */
  paintUnit(frame, part) {
    const layer = frame.layers[part.layer];
    const a = layer.a[part.j];
    const top = Math.max(...layer.a.map((v) => Math.abs(drawn(v))), 1e-12);
    const known = isReached(this.step, "a", part.layer);
    part.value.textContent = known ? brief(a) : UNKNOWN;
    part.disc.style.setProperty("--much", known ? String(Math.round((65 * Math.abs(drawn(a))) / top)) : "0");
    part.node.classList.toggle("negative", drawn(a) < 0);
    const back = part.layer > 0 && isReached(this.step, "delta", part.layer);
    part.delta.textContent = back ? `δ ${brief(layer.delta[part.j])}` : "";
    const mark = layer.marks[part.row];
    part.mark.textContent = mark === "dead" ? "✕" : mark === "saturated" ? "≈" : "";
    part.node.setAttribute("aria-label", describe(frame, part, this.examined));
  }

  /**
   * @param {Frame} frame
   * @param {Part} part
   */
  paintLoss(frame, part) {
    const known = isReached(this.step, "loss", part.layer);
    part.value.textContent = known ? number(frame.sample.loss, 3) : UNKNOWN;
    part.node.setAttribute("aria-label", `Loss of this sample: ${number(frame.sample.loss, 4)}`);
  }

  // --- what is lit -------------------------------------------------------------------------------

  /** @param {import("./lit").Step | null} step */
  showStep(step) {
    this.step = step;
    if (this.frame) this.paint(this.frame);
  }

  /** @param {string} target */
  select(target) {
    this.selected = target;
    this.path = null;
    this.lit = [];
    this.light();
  }

  /** Bring the drawing on screen, and in it what is open. */
  comeBack() {
    this.node.scrollIntoView({ block: "start" });
    const open = this.parts.get(this.selected)?.node;
    open?.focus({ preventScroll: true });
    open?.scrollIntoView({ block: "nearest", inline: "center" });
  }

  /**
   * Slide a drawing that is wider than its place to some parts.
   * @param {string[]} names
   */
  bring(names) {
    const slide = /** @type {HTMLElement} */ (this.canvas.parentElement);
    const boxes = names.flatMap((name) => this.parts.get(name)?.node.getBoundingClientRect() ?? []);
    if (!boxes.length || slide.scrollWidth <= slide.clientWidth) return;
    const [left, right] = [Math.min(...boxes.map((box) => box.left)), Math.max(...boxes.map((box) => box.right))];
    const box = slide.getBoundingClientRect();
    slide.scrollLeft += (left + right) / 2 - (box.left + box.right) / 2;
  }

  /**
   * Light up a path to the loss: from a layer on, through these units.
   * @param {number} layer
   * @param {number[]} units
   */
  showPath(layer, units) {
    this.path = { layer, units };
    this.light();
  }

  /**
   * Light up some parts, and dim all others.
   * @param {string[]} names
   */
  lightParts(names) {
    this.lit = names;
    this.light();
  }

  light() {
    const last = (this.frame?.layers.length ?? 0) - 1;
    const on = this.path ? partsOf(this.selected, this.path, last) : new Set(this.lit);
    for (const [target, part] of this.parts) {
      const list = part.node.classList;
      list.toggle("selected", target === this.selected);
      list.toggle("onpath", on.has(target));
      list.toggle("active", this.step?.light?.includes(target) ?? isActive(this.step, part, last));
      list.toggle("backwards", this.step?.phase === "backward");
    }
    this.canvas.classList.toggle("haspath", on.size > 0);
    this.canvas.classList.toggle("stepping", this.step !== null);
  }

  // --- pointer and keyboard ----------------------------------------------------------------------

  /**
   * Show the facts of what is under the pointer or in focus.
   * @param {any} target
   * @param {PointerEvent | null} pointer
   */
  hover(target, pointer) {
    const node = target.closest?.("[data-target], [data-layer]");
    const part = node && this.parts.get(nameOf(node));
    if (!this.frame || !part) return this.hideTip();
    let shown = part;
    if (part.kind === "strip") {
      if (pointer) part.at = cellAt(part, this.frame.layers[part.layer].units, pointer);
      markCell(part);
      shown = { node, kind: "a", layer: part.layer, j: part.at };
    }
    const at = pointer ? [pointer.clientX, pointer.clientY] : middleOf(node);
    this.tipped = { part: shown, at };
    return this.tip.show(facts(this.frame, shown, this.examined), at);
  }

  hideTip() {
    this.tip.hide();
    this.tipped = null;
    for (const part of this.parts.values()) part.marker?.setAttribute("visibility", "hidden");
  }

  /** @param {KeyboardEvent} event */
  walk(event) {
    const here = document.activeElement?.closest("[data-target], [data-layer]");
    if (!here || !this.shape || !this.frame) return;
    const name = nameOf(here);
    const part = this.parts.get(name);
    if (part?.kind === "strip" && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const { units } = this.frame.layers[part.layer];
      part.at = (part.at + (event.key === "ArrowDown" ? 1 : units - 1)) % units;
      event.preventDefault();
      this.hover(here, null);
      return;
    }
    const next = neighbour(this.shape.order, name, event.key);
    if (!next) return;
    event.preventDefault();
    setTabStop(this.parts, next);
    this.parts.get(next)?.node.focus();
  }

  /**
   * @param {any} cell
   * @param {any} event
   */
  openCell(cell, event) {
    const part = this.parts.get(nameOf(cell));
    if (!part || !this.frame) return;
    if (event.type === "click" && event.clientX) part.at = cellAt(part, this.frame.layers[part.layer].units, event);
    this.owner.showUnit(part.layer, part.at);
  }
}

/**
 * Return the name of a part by its element.
 * @param {any} node
 */
function nameOf(node) {
  return node.dataset.target ?? `strip ${node.dataset.layer}`;
}
