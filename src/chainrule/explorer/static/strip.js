/** The heat map of a wide layer: every unit as a cell, of which each can be chosen. */

import { el, rgb } from "./dom.js";
import { drawn } from "./numbers.js";

/** @typedef {import("./types").Part} Part */

/**
 * @param {Part} part
 * @param {import("./types").Row} values
 * @param {boolean} isImage ink on paper, in place of the colours of a sign
 */
export function paintStrip(part, values, isImage) {
  const canvas = el("canvas", { width: part.columns, height: part.rows });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const pixels = context.createImageData(part.columns, part.rows);
  const top = Math.max(...values.map((v) => Math.abs(drawn(v))), 1e-12);
  const [above, below, paper] = [isImage ? "--ink-rgb" : "--positive-rgb", "--negative-rgb", "--card-rgb"].map((name) =>
    rgb(part.node, name),
  );
  values.forEach((v, i) => {
    const share = Math.min(Math.abs(drawn(v)) / top, 1);
    const colour = drawn(v) < 0 ? below : above;
    for (let c = 0; c < 3; c += 1) pixels.data[4 * i + c] = paper[c] + share * (colour[c] - paper[c]);
    pixels.data[4 * i + 3] = 255;
  });
  context.putImageData(pixels, 0, 0);
  part.picture.setAttribute("href", canvas.toDataURL());
}

/**
 * Return the unit whose cell is under a pointer.
 * @param {Part} part
 * @param {number} units of the layer
 * @param {{ clientX: number, clientY: number }} event
 */
export function cellAt(part, units, event) {
  const box = part.picture.getBoundingClientRect();
  const column = Math.min(Math.floor(((event.clientX - box.left) / box.width) * part.columns), part.columns - 1);
  const row = Math.min(Math.floor(((event.clientY - box.top) / box.height) * part.rows), part.rows - 1);
  return Math.max(0, Math.min(row * part.columns + column, units - 1));
}

/**
 * Put the frame around the cell that is chosen.
 * @param {Part} part
 */
export function markCell(part) {
  const [width, height] = [part.width / part.columns, part.height / part.rows];
  part.marker.setAttribute("x", part.x + (part.at % part.columns) * width);
  part.marker.setAttribute("y", part.y + Math.floor(part.at / part.columns) * height);
  part.marker.setAttribute("visibility", "visible");
}
