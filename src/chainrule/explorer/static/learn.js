/** Learning by doing: exercises that recognise common mistakes. */

import { el, formula, unique } from "./dom.js";
import { plural } from "./numbers.js";

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
