/** The pictures of a derivation: the loss over one number, its tangent and step, g, and a nudge. */

import { el, formula } from "./dom.js";
import { number } from "./numbers.js";

export class Pictures {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.target = "";
    this.open = false; // stays as the reader left it, for the next derivation too
    this.out = el("div.drawn", {});
  }

  /** @param {string} target */
  render(target) {
    this.target = target;
    this.out = el("div.drawn", { "aria-live": "off" });
    const node = el(
      "details.pictures",
      { open: this.open },
      el("summary", {}, "In pictures: the loss over this number"),
      this.out,
    );
    node.addEventListener("toggle", () => {
      const changed = this.open !== node.open;
      this.open = node.open;
      if (changed) void this.load();
    });
    if (this.open) void this.load();
    return node;
  }

  /** Draw with the numbers as they are. */
  async load() {
    if (!this.open || !this.target) return;
    const { out, target } = this;
    const reply = await this.app.ask({ kind: "picture", target });
    if (!reply || out !== this.out) return;
    out.replaceChildren(
      ...(reply.drawn.length ? [] : [el("p.small", {}, "The number is not finite, so there is nothing to draw.")]),
      ...reply.drawn.map((/** @type {any} */ drawn) => {
        const figure = el("figure", {});
        figure.innerHTML = drawn.svg; // as the library drew it
        figure.append(el("figcaption", {}, el("b", {}, `${drawn.title}. `), drawn.words));
        return figure;
      }),
      this.nudge(reply),
    );
  }

  /** @param {any} reply */
  nudge(reply) {
    const { digits } = this.app.frame.settings;
    return el(
      "div.nudge",
      {},
      el("p.small", {}, `${reply.lead} Δ`, formula(reply.symbol), ` = ${number(reply.size, digits)}`),
      el(
        "div.scroll",
        { tabindex: 0, role: "region", "aria-label": "A nudge, carried forward" },
        el(
          "table",
          {},
          el(
            "thead",
            {},
            el(
              "tr",
              {},
              ...reply.heads.map((/** @type {string} */ h) => (h ? el("th", { scope: "col" }, h) : el("td"))),
            ),
          ),
          el(
            "tbody",
            {},
            ...reply.changes.map((/** @type {any} */ change) =>
              el(
                "tr",
                {},
                el("th", { scope: "row" }, "Δ", formula(change.symbol)),
                el("td", {}, number(change.predicted, digits)),
                el("td", {}, number(change.measured, digits)),
              ),
            ),
          ),
        ),
      ),
    );
  }
}
