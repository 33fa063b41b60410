/** The facts of a part of the drawing: its name and numbers, for the tip and for screen readers. */

import { symbol } from "./dom.js";
import { number, plural } from "./numbers.js";

/** @typedef {import("./types").Frame} Frame */
/** @typedef {import("./types").Part} Part */

const MARKS = { dead: "z ≤ 0 on every sample checked", saturated: "flat: g′(z) ≈ 0" };

/**
 * Return the numbers of a part with their names.
 * @param {Frame} frame
 * @param {Part} part
 * @param {boolean} [examined] whether an exercise is open, which derivatives would answer
 * @returns {[string, string][]}
 */
export function facts(frame, part, examined) {
  const lines = all(frame, part);
  return examined ? lines.filter(([name]) => !name.includes("∂")) : lines;
}

/**
 * @param {Frame} frame
 * @param {Part} part
 * @returns {[string, string][]}
 */
function all(frame, part) {
  const write = (/** @type {import("./types").Value} */ v) => number(v, frame.settings.digits);
  const { a, C, x } = frame.settings.letters;
  if (part.kind === "loss")
    return [
      [`${C} of this sample`, write(frame.sample.loss)],
      ["loss", frame.network.loss.replace(/_/g, " ")],
    ];
  const layer = frame.layers[part.layer];
  if (part.kind === "array") {
    const size =
      part.letter === "W"
        ? `${layer.units} × ${frame.layers[part.layer - 1].units} weights`
        : plural(layer.units, "bias");
    return [[symbol(frame, part.letter, part.layer), size.replace("biass", "biases")]];
  }
  if (part.kind === "w") {
    const w = frame.weights[part.layer - 1];
    return [
      [symbol(frame, "w", part.layer, part.j, part.k), write(w.w[part.row][part.from])],
      [`∂${C}/∂w`, write(w.dw[part.row][part.from])],
    ];
  }
  if (part.kind === "b")
    return [
      [symbol(frame, "b", part.layer, part.j), write(layer.b[part.j])],
      [`∂${C}/∂b`, write(layer.db[part.j])],
    ];
  const { columns, formulas } = frame.data;
  const formula = formulas[part.j];
  const own = columns[part.j] ?? (formula ? `= ${formula}` : "");
  if (part.layer === 0)
    return [
      [`${symbol(frame, x, 0, part.j)}${own ? ` ${own}` : ""}`, write(layer.a[part.j])],
      [`∂${C}/∂${x}`, write(layer.dC_da[part.j])],
    ];
  const lines = /** @type {[string, string][]} */ ([
    [symbol(frame, "z", part.layer, part.j), write(layer.z[part.j])],
    [`${symbol(frame, a, part.layer, part.j)} = ${layer.activation}(z)`, write(layer.a[part.j])],
    [`∂${C}/∂${a}`, write(layer.dC_da[part.j])],
    [`δ = ∂${C}/∂z`, write(layer.delta[part.j])],
  ]);
  if (layer.b.length) lines.push(["b", write(layer.b[part.j])]);
  const mark = part.row === undefined ? "" : layer.marks[part.row];
  if (mark) lines.push([mark, MARKS[/** @type {keyof typeof MARKS} */ (mark)]]);
  return lines;
}

/**
 * Return a sentence about a weight, a bias, a unit or an input, for a screen reader.
 * @param {Frame} frame
 * @param {Part} part
 * @param {boolean} [examined] whether an exercise is open
 */
export function describe(frame, part, examined) {
  const first = frame.settings.first_index;
  const unit = part.j + first;
  let name = part.layer ? `Unit ${unit} of layer ${part.layer}` : `Input ${unit}`;
  if (part.kind === "w")
    name = `Weight from unit ${part.k + first} of layer ${part.layer - 1} to unit ${unit} of layer ${part.layer}`;
  else if (part.kind === "b") name = `Bias of unit ${unit} of layer ${part.layer}`;
  else if (part.kind === "array")
    name = `All ${part.letter === "W" ? "weights" : "biases"} of layer ${part.layer}, as a matrix`;
  return `${name}: ${facts(frame, part, examined)
    .map(([what, value]) => `${what} ${value}`)
    .join(", ")}`;
}

/**
 * Return a sentence about the network as a whole.
 * @param {Frame} frame
 */
export function summary(frame) {
  const { sizes, activations, loss } = frame.network;
  const layers = sizes.slice(1).map((units, i) => plural(units, `${activations[i].replace(/_/g, " ")} unit`));
  return (
    `The network: ${[plural(sizes[0], "input"), ...layers].join(", then ")}. ` +
    `The ${loss.replace(/_/g, " ")} loss of this sample is ${number(frame.sample.loss, 4)}. ` +
    "Use the arrow keys to move between the parts, and Enter to open one."
  );
}

/**
 * Read the name of a quantity, such as w[2][1,0] or x[3]; null for any other text.
 * @param {string} target
 */
export function parse(target) {
  const found = /^([wba])\[(\d+)\]\[(\d+)(?:,(\d+))?\]$|^x\[(\d+)\]$/.exec(target);
  if (!found) return null;
  if (found[5] !== undefined) return { kind: "x", layer: 0, j: Number(found[5]), k: -1 };
  return { kind: found[1], layer: Number(found[2]), j: Number(found[3]), k: Number(found[4] ?? -1) };
}
