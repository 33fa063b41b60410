/** Health: how large the gradient is, layer by layer, and which units have stopped learning. */

import { bar, el } from "./dom.js";
import { drawn, number } from "./numbers.js";

export class HealthCard {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.words = el("p.lead", {});
    this.list = el("ol.layers", {});
    this.node = el("details.card.group.health", {}, el("summary", {}, el("h2", {}, "Health")), this.words, this.list);
    this.node.addEventListener("toggle", () => void this.refresh());
  }

  async refresh() {
    if (!this.node.open || this.app.training) return;
    const reply = await this.app.ask({ kind: "health" });
    if (!reply) return;
    this.words.textContent = reply.words;
    this.list.replaceChildren(
      ...reply.layers.map((/** @type {any} */ layer) =>
        el(
          "li",
          {},
          el(
            "div.row",
            {},
            el("b", {}, `Layer ${layer.layer}`),
            el("span.bar.positive", { "aria-hidden": "true" }, bar(drawn(layer.share))),
            el("span.amount", {}, `∂C/∂w ${number(layer.gradient, 2)}`),
          ),
          el("p.small", {}, layer.words),
        ),
      ),
    );
  }
}
