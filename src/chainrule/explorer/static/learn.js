/** Learning by doing: two lessons, and exercises that recognise common mistakes. */

import { el, formula, unique } from "./dom.js";
import { number, plural } from "./numbers.js";

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

export class Practice {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.target = "";
    this.right = 0;
    this.asked = 0;
    this.body = el("div.body", {});
    this.node = el("article.card.practice", { hidden: true, "aria-label": "Practice" }, this.body);
  }

  async toggle() {
    if (!this.node.hidden) return this.close();
    this.app.lessons.close();
    this.node.hidden = false;
    return this.next("any");
  }

  /** @param {string} about */
  async next(about) {
    const question = await this.app.ask({ kind: "ask", about });
    if (!question) return this.close();
    this.app.panel.close();
    this.about = about;
    const id = unique("answer");
    const box = el("input", { id, type: "text", inputmode: "decimal", autocomplete: "off", spellcheck: "false" });
    const out = el("div.out", { role: "status" });
    const form = el(
      "form.answer",
      {
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          void this.judge(box.value, out);
        },
      },
      el("label", { for: id }, "Your answer"),
      box,
      el("button.main", { type: "submit" }, "Check"),
    );
    const hint = el("details.hint", {}, el("summary", {}, "Hint"), el("p", {}, question.hint));
    const kind = el(
      "select",
      { "aria-label": "Exercises about", onchange: () => void this.next(kind.value) },
      ...[
        ["any", "anything"],
        ["term", "one term"],
        ["gradient", "a gradient"],
        ["update", "an update"],
      ].map(([value, words]) => el("option", { value }, words)),
    );
    kind.value = about;
    this.body.replaceChildren(
      el(
        "div.top",
        {},
        el("h2", { tabindex: -1 }, "Practise"),
        el("button.icon.close", { type: "button", "aria-label": "Close practice", onclick: () => this.close() }, "✕"),
      ),
      el(
        "p.small",
        {},
        this.asked ? `${this.right} of ${plural(this.asked, "answer")} right.` : "An exercise about your network.",
      ),
      el("p", {}, question.words),
      formula(question.mathml, "div.question"),
      el("ul.given", {}, ...question.given.map((/** @type {any} */ g) => el("li", {}, formula(g.mathml)))),
      form,
      out,
      hint,
      el(
        "div.buttons",
        {},
        el("button", { type: "button", onclick: () => void this.next(this.about ?? "any") }, "Another"),
        el("label.about", {}, "about ", kind),
      ),
    );
    this.target = question.target;
    this.app.lightUp();
    if (this.app.app.clientWidth < 1000) this.node.scrollIntoView({ block: "start" });
    box.focus({ preventScroll: true });
    return undefined;
  }

  /**
   * @param {string} text
   * @param {HTMLElement} out
   */
  async judge(text, out) {
    const value = Number(
      text
        .trim()
        .replace("−", "-")
        .replace(/^(-?\d*),(\d+)$/, "$1.$2"),
    );
    if (text.trim() === "" || !Number.isFinite(value)) {
      out.replaceChildren(el("p.verdict.fail", {}, "Type a number, such as −0.25."));
      return;
    }
    const verdict = await this.app.ask({ kind: "answer", value });
    if (!verdict) return;
    this.asked += 1;
    this.right += verdict.right ? 1 : 0;
    const shown = /** @type {Node[]} */ ([
      el(
        `p.verdict.${verdict.right ? "pass" : "fail"}`,
        { "data-fault": verdict.fault },
        `${verdict.right ? "✓" : "✕"} ${verdict.words}`,
      ),
    ]);
    if (verdict.right) {
      shown.push(
        el("div.eq", {}, formula(verdict.solution)),
        el(
          "button.quiet",
          { type: "button", onclick: () => void this.app.open(verdict.target) },
          "See the whole derivation",
        ),
      );
    }
    out.replaceChildren(...shown);
  }

  close() {
    this.node.hidden = true;
    this.target = "";
    this.app.lightUp();
  }
}
