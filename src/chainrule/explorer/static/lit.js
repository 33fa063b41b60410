/** What is lit in the drawing: the parts of the step that is played, and of a path to the loss. */

import { parse } from "./facts.js";

/** @typedef {import("./types").Part} Part */
/** A step; without `light`, all that its phase and layer read is lit. */
/** @typedef {{ phase: string, layer: number, light?: string[] }} Step */

const ORDER = { input: 0, forward: 1, loss: 2, backward: 3, gradient: 3, update: 4 };

/**
 * Return whether a number is computed by the end of a step.
 * @param {Step | null} step
 * @param {"a" | "delta" | "loss"} what
 * @param {number} layer
 */
export function isReached(step, what, layer) {
  if (!step) return true;
  const passed = ORDER[/** @type {keyof typeof ORDER} */ (step.phase)] ?? ORDER.update;
  if (what === "a") return passed > ORDER.forward || layer === 0 || (passed === ORDER.forward && layer <= step.layer);
  if (what === "loss") return passed >= ORDER.loss;
  return passed === ORDER.update || (passed === ORDER.backward && layer >= step.layer);
}

/**
 * Return whether a step reads or computes a part.
 * @param {Step | null} step
 * @param {Part} part
 * @param {number} last the last layer
 */
export function isActive(step, part, last) {
  if (!step) return false;
  const { phase, layer } = step;
  const ends = part.layer === layer || part.layer === layer - 1;
  if (phase === "input") return part.layer === 0 && part.kind !== "w";
  if (phase === "forward")
    return part.kind === "w" || part.kind === "b" ? part.layer === layer : part.kind === "a" && ends;
  if (phase === "loss") return part.kind === "loss" || part.kind === "y" || (part.kind === "a" && part.layer === layer);
  if (phase === "backward") {
    if (layer === last && part.kind === "loss") return true;
    return part.kind === "a"
      ? part.layer === layer || part.layer === layer + 1
      : part.kind === "w" && part.layer === layer + 1;
  }
  if (phase === "gradient") return part.kind === "w" ? part.layer === layer : part.kind === "a" && ends;
  return part.kind === "w" || part.kind === "b";
}

/**
 * Return the parts on a path to the loss: from a quantity through one unit of each next layer.
 * @param {string} target
 * @param {{ layer: number, units: number[] }} path
 * @param {number} last the last layer
 * @returns {Set<string>}
 */
export function partsOf(target, { layer, units }, last) {
  let before = parse(target)?.j ?? 0;
  const on = new Set([target, layer > 0 ? `a[${layer}][${before}]` : `x[${before}]`]);
  units.forEach((unit, i) => {
    const l = layer + i + 1;
    on.add(`w[${l}][${unit},${before}]`);
    on.add(`a[${l}][${unit}]`);
    before = unit;
  });
  if (layer + units.length >= last) on.add("loss");
  return on;
}
