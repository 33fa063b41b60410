/** Lessons: two derivations, walked through step by step. */

import { el, formula } from "./dom.js";
import { number } from "./numbers.js";

/** @typedef {import("./types").Stop} Stop */

export class Lessons {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    /** @type {Stop[]} */
    this.stops = [];
    this.at = 0;
    this.target = ""; // of the stop
    /** The settings before the lesson. @type {{ notation: string, scope: string } | null} */
    this.before = null;
    this.body = el("div.body", {});
    this.node = el("article.card.lesson", { hidden: true, "aria-label": "Lesson" }, this.body);
  }

  toggle() {
    if (this.node.hidden) this.choose();
    else this.close();
  }

  choose() {
    this.node.hidden = false;
    this.app.practice.close();
    const lesson = (/** @type {string} */ name, /** @type {string} */ title, /** @type {string} */ words) =>
      el(
        "button.choice",
        { type: "button", onclick: () => void this.begin(name) },
        el("b", {}, title),
        el("span", {}, words),
      );
    this.body.replaceChildren(
      this.top("Lessons"),
      el(
        "p",
        {},
        "Walk through two widely taught derivations, with their own letters and numbers. Undo brings your network back.",
      ),
      lesson(
        "output weight",
        "1  One weight of the output layer",
        "Six units feed four outputs. How does the loss change when one weight changes?",
      ),
      lesson(
        "tanh chain",
        "2  A chain of single units, and its update",
        "Two tanh units, a loss, three factors, and one step of gradient descent.",
      ),
    );
    this.focus();
  }

  /** @param {string} title */
  top(title) {
    return el(
      "div.top",
      {},
      (this.heading = el("h2", { tabindex: -1 }, title)),
      el("button.icon.close", { type: "button", "aria-label": "Close the lesson", onclick: () => this.close() }, "✕"),
    );
  }

  focus() {
    this.heading?.focus({ preventScroll: true });
    if (this.app.app.clientWidth < 1000) this.node.scrollIntoView({ block: "start" });
  }

  /** @param {string} name */
  async begin(name) {
    const { notation, scope } = this.app.frame.settings;
    const reply = await this.app.ask({ kind: "tour", lesson: name });
    if (!reply) return;
    this.before ??= { notation, scope };
    this.given = reply.frame.settings;
    this.app.panel.close();
    this.app.show(reply.frame);
    await this.app.afterChange();
    this.stops = reply.stops;
    this.title = reply.title;
    this.go(0);
  }

  /** @param {number} i */
  go(i) {
    this.at = i;
    const stop = this.stops[i];
    this.target = stop.target;
    const last = i === this.stops.length - 1;
    const next = el(
      "button.main",
      { type: "button", onclick: () => (last ? this.close() : this.go(i + 1)) },
      last ? "Done" : "Next",
    );
    const back = el("button", { type: "button", disabled: i === 0, onclick: () => this.go(i - 1) }, "Back");
    this.body.replaceChildren(
      this.top(stop.title),
      el("p.small", {}, `${this.title}: ${i + 1} of ${this.stops.length}`),
      el("progress", { max: this.stops.length, value: String(i + 1), "aria-label": "Progress" }),
      el("p", {}, stop.words),
      ...stop.equations.map((equation) =>
        el(
          "div.line",
          {},
          equation.lead ? el("p.lead", {}, equation.lead) : null,
          el("div.eq", {}, formula(equation.mathml)),
        ),
      ),
      (this.out = el("div.out", { "aria-live": "polite" })),
      el("div.buttons", {}, back, ...this.act(stop), next),
    );
    const { drawing, panel } = this.app;
    if (stop.phase === "input") drawing.showStep(null);
    else if (stop.phase) drawing.showStep({ phase: stop.phase, layer: stop.layer });
    else drawing.showStep(null);
    if (stop.act === "prove") void this.app.open(stop.target);
    else if (panel.target) panel.close();
    drawing.select(stop.target);
    if (!stop.phase || stop.phase === "input") drawing.showPath(stop.layer, []);
    this.focus();
  }

  /** @param {Stop} stop */
  act(stop) {
    if (stop.act === "update") {
      return [
        el(
          "button.main",
          {
            type: "button",
            onclick: async () => {
              const before = this.app.frame.training.loss;
              await this.app.change({ kind: "update" });
              const after = this.app.frame.training.loss;
              this.out.textContent = `The loss was ${number(before, 5)}; after the update it is ${number(after, 5)}.`;
            },
          },
          "Make the update",
        ),
      ];
    }
    if (stop.act === "prove")
      return [el("button.main", { type: "button", onclick: () => this.app.panel.prove?.click() }, "Prove it")];
    return [];
  }

  close() {
    if (this.node.hidden) return;
    this.node.hidden = true;
    this.target = "";
    this.app.drawing.showStep(null);
    this.app.lightUp();
    this.giveBack();
  }

  /** Restore the settings before the lesson, except those changed meanwhile. */
  giveBack() {
    const { before, given } = this;
    this.before = null;
    if (!before) return;
    const now = this.app.frame.settings;
    const fields = Object.fromEntries(
      Object.entries(before).filter(([name, value]) => now[name] === given[name] && now[name] !== value),
    );
    if (Object.keys(fields).length) void this.app.change({ kind: "configure", ...fields });
  }
}
