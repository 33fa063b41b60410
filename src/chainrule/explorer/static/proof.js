/** A certificate: the verdict, and the evidence that it comes from. */

import { el } from "./dom.js";
import { exact, scientific } from "./numbers.js";

const VERDICTS = {
  pass: "✓ pass: all values agree",
  fail: "✕ fail: the values do not agree",
  kink: "∧ kink: there is no derivative here; this is the slope on one side",
  "not resolved": "? not resolved: the values do not have enough digits to decide",
};

/** @param {any} found */
export function certificate(found) {
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
