/** A certificate: the verdict, and the evidence that it comes from. */

import { el } from "./dom.js";
import { exact, scientific } from "./numbers.js";

const VERDICTS = {
  pass: "✓ pass: all values agree",
  fail: "✕ fail: the values do not agree",
  kink: "∧ kink: there is no derivative here; this is the slope on one side",
  "not resolved": "? not resolved: the values do not have enough digits to decide",
};

/**
 * Return what a certificate of a number, or those of the elements of an array, say.
 * @param {any} found
 * @returns {(Node | string)[]}
 */
export function certificate(found) {
  if (found.elements) return ofArray(found);
  const verdict = VERDICTS[/** @type {keyof typeof VERDICTS} */ (found.verdict)];
  const row = (
    /** @type {string} */ method,
    /** @type {string} */ digits,
    /** @type {import("./types").Value | null} */ error,
  ) =>
    el(
      "li",
      {},
      el("b", {}, method),
      el("span.error", {}, error === null ? "" : `rel. error ${scientific(error, 1)}`),
      el("span.value", {}, digits),
    );
  const others = found.evidence.filter((/** @type {any} */ e) => e.value !== null);
  return [
    el(`p.verdict.${found.verdict.replace(" ", "-")}`, {}, verdict),
    found.advice ? el("p.small", {}, found.advice) : "",
    el(
      "ul.evidence",
      { "aria-label": "Evidence" },
      row("backpropagation", exact(found.analytic), null),
      ...others.map((/** @type {any} */ e) => row(e.method, e.digits, e.relative_error)),
    ),
  ];
}

/** @param {any} found */
function ofArray(found) {
  const { elements, total, verdict } = found;
  const which = elements.length === total ? `all ${total}` : `the ${elements.length} largest of ${total}`;
  return [
    el(`p.verdict.${verdict.replace(" ", "-")}`, {}, VERDICTS[/** @type {keyof typeof VERDICTS} */ (verdict)]),
    el("p.small", {}, `Proven one by one: ${which} elements.`),
    ...elements.map((/** @type {any} */ element) =>
      el("details", {}, el("summary", {}, `${element.target}: ${element.verdict}`), ...certificate(element)),
    ),
  ];
}
