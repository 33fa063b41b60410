/** The sums of a derivation, opened: the contributions of the units of a layer, and the terms of each sample. */

import { bar, el, formula } from "./dom.js";
import { parse } from "./facts.js";
import { drawn, number, plural } from "./numbers.js";

/** @typedef {import("./types").Derivation} Derivation */
/** @typedef {import("./types").Contributions} Contributions */

/**
 * Return the list of contributions to a sum, largest first; each opens into the terms behind it.
 * @param {any} app
 * @param {string} target
 * @param {Contributions} parts
 * @param {number[]} units the path that led here
 */
export function contributions(app, target, parts, units) {
  const digits = app.frame.settings.digits;
  const first = app.frame.settings.first_index;
  const most = Math.max(...parts.largest.map((p) => Math.abs(drawn(p.value))), 1e-300);
  const list = el("ol.parts", { "aria-label": "Contributions" });
  for (const part of parts.largest) {
    const way = [...units, part.unit];
    const inside = el("div.inside", {});
    const details = el(
      "details.way",
      {},
      el(
        "summary",
        {
          onmouseenter: () => lightUp(app, target, way),
          onfocus: () => lightUp(app, target, way),
        },
        el("span.through", {}, `through unit ${part.unit + first}`),
        el(
          "span.bar",
          { class: `bar ${drawn(part.value) < 0 ? "negative" : "positive"}`, "aria-hidden": "true" },
          bar(Math.abs(drawn(part.value)) / most),
        ),
        el("span.amount", {}, number(part.value, digits)),
      ),
      inside,
    );
    details.addEventListener("toggle", () => {
      if (details.open) void openWay(app, target, way, inside, part);
    });
    list.append(el("li", {}, details));
  }
  const left = parts.count - parts.largest.length;
  if (left)
    list.append(
      el(
        "li.rest",
        {},
        `${left === 1 ? "the other one" : `the sum of the other ${left}`}: ${number(parts.rest, digits)}`,
      ),
    );
  const words =
    parts.count === 1
      ? "The only contribution:"
      : left
        ? `The ${parts.largest.length} largest of ${parts.count} contributions:`
        : `The ${parts.count} contributions, largest first:`;
  return el("div.contributions", {}, el("p.lead", {}, words), list);
}

/**
 * @param {any} app
 * @param {string} target
 * @param {number[]} way
 * @param {HTMLElement} inside
 * @param {import("./types").Contribution} part
 */
async function openWay(app, target, way, inside, part) {
  lightUp(app, target, way);
  if (inside.childElementCount) return;
  const reply = await app.ask({ kind: "open", target, units: way });
  if (!reply) return;
  inside.append(el("div.eq", {}, formula(part.symbol)));
  for (const term of reply.terms) {
    inside.append(el("div.eq", {}, formula(term.numbers)));
  }
  const sum = reply.terms.find((/** @type {any} */ term) => term.contributions !== null);
  if (sum) inside.append(contributions(app, target, sum.contributions, way));
}

/**
 * @param {any} app
 * @param {string} target
 * @param {number[]} way
 */
function lightUp(app, target, way) {
  const start = parse(target);
  if (start) app.drawing.showPath(start.layer, way);
}

/**
 * Return the table of the terms of each sample.
 * @param {any} app
 * @param {Derivation} reply
 */
export function samples(app, reply) {
  const digits = app.frame.settings.digits;
  const first = app.frame.settings.first_index;
  const head = el(
    "tr",
    {},
    el("th", { scope: "col" }, "sample"),
    ...reply.heads.map((symbol) => el("th", { scope: "col" }, formula(symbol))),
    el("th", { scope: "col" }, "product"),
  );
  const body = reply.samples.map(([index, ...values]) =>
    el(
      `tr${index === reply.focus ? ".focus" : ""}`,
      {},
      el("th", { scope: "row" }, String(Number(index) + first)),
      ...values.map((v) => el("td", {}, number(v, digits))),
    ),
  );
  const table = el("table", {}, el("thead", {}, head), el("tbody", {}, ...body));
  const left = reply.n_samples - reply.samples.length;
  return el(
    "div.scroll",
    { tabindex: 0, role: "region", "aria-label": "The terms of each sample" },
    table,
    left > 0 ? el("p.small", {}, `and ${plural(left, "more sample")}`) : null,
  );
}
