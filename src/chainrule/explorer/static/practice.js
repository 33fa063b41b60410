/** Practice: exercises that recognise common mistakes, and a score of first tries. */

import { download, el, formula, unique, wide } from "./dom.js";
import { number, plural } from "./numbers.js";

const KEPT = "chainrule practice"; // in the browser's storage
const MOST = 1000; // results that are kept

/**
 * One exercise: what it was about, whether the first try was right, and how it went on.
 * @typedef {{ about: string, target: string, first: boolean, tries: number, hints: number,
 *   solved: boolean, shown: boolean, faults: string[] }} Result
 */

export class Practice {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.target = "";
    this.about = "any";
    this.asking = 0; // exercises asked for, to drop replies that come late
    /** @type {Result[]} */
    this.results = read();
    /** @type {Result | null} */
    this.now = null;
    this.body = el("div.body", {});
    this.node = el("article.card.practice", { hidden: true, "aria-label": "Practice" }, this.body);
  }

  async toggle() {
    if (!this.node.hidden) return this.close();
    this.app.lessons.close();
    this.app.worked.close();
    this.node.hidden = false;
    return this.next("any");
  }

  /** @param {string} about */
  async next(about) {
    const asking = ++this.asking;
    const question = await this.app.ask({ kind: "ask", about });
    if (asking !== this.asking || this.node.hidden) return undefined;
    if (!question) return this.close();
    this.app.panel.close();
    this.about = about;
    this.target = question.target;
    const counts = { first: false, tries: 0, hints: 0, solved: false, shown: false, faults: [] };
    this.now = { about, target: question.target, ...counts };
    this.app.drawing.examine(true);
    const id = unique("answer");
    const box = el("input", { id, type: "text", autocomplete: "off", spellcheck: "false", maxlength: 200 });
    const out = el("div.out", { role: "status" });
    const form = el(
      question.names.length ? "form.answer.long" : "form.answer",
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
    const kind = el(
      "select",
      { "aria-label": "Exercises about", onchange: () => void this.next(kind.value) },
      ...[
        ["any", "any number"],
        ["term", "one term"],
        ["gradient", "a gradient"],
        ["update", "an update"],
        ["formula", "the chain rule in symbols"],
      ].map(([value, words]) => el("option", { value }, words)),
    );
    kind.value = about;
    this.score = el("p.small", { role: "status" });
    this.body.replaceChildren(
      el(
        "div.top",
        {},
        el("h2", { tabindex: -1 }, "Practise"),
        el("button.icon.close", { type: "button", "aria-label": "Close practice", onclick: () => this.close() }, "✕"),
      ),
      this.score,
      el("p", {}, question.words),
      formula(question.mathml, "div.question"),
      el("ul.given", {}, ...question.given.map((/** @type {any} */ g) => el("li", {}, formula(g.mathml)))),
      question.names.length
        ? el("p.small", {}, `To type it, write ${question.names.join(", ")}, and * for times.`)
        : null,
      form,
      out,
      this.hints(question),
      el(
        "div.buttons",
        {},
        el("button", { type: "button", onclick: () => void this.next(this.about) }, "Another"),
        el("button.quiet", { type: "button", onclick: () => void this.solve(out) }, "Show the solution"),
        el("button.quiet", { type: "button", onclick: () => this.save() }, "Save results"),
        el("label.about", {}, "about ", kind),
      ),
    );
    this.tell();
    this.app.lightUp();
    if (this.app.app.clientWidth < 1000) this.node.scrollIntoView({ block: "start" });
    box.focus({ preventScroll: true });
    return undefined;
  }

  /**
   * Return a button that shows one hint after the other: words, then each factor in symbols.
   * @param {any} question
   */
  hints(question) {
    const factors = question.hints.map((/** @type {any} */ h) => formula(h.mathml, "div.eq"));
    const steps = [el("p", {}, question.hint), ...factors];
    const list = el("div.hint-steps", { "aria-live": "polite" });
    const button = el(
      "button.quiet",
      {
        type: "button",
        onclick: () => {
          const at = list.children.length;
          list.append(steps[at]);
          if (this.now && !this.now.tries) this.now.hints = at + 1;
          button.textContent = "Another hint";
          button.disabled = at + 1 >= steps.length;
        },
      },
      "Hint",
    );
    return el("div.hint", {}, list, button);
  }

  /**
   * @param {string} text
   * @param {HTMLElement} out
   */
  async judge(text, out) {
    const now = this.now;
    if (!now) return;
    const verdict = await this.app.ask({ kind: "answer", text });
    if (!verdict || now !== this.now) return;
    if (verdict.fault !== "unreadable" && !now.solved && !now.shown) {
      now.tries += 1;
      if (now.tries === 1) {
        now.first = verdict.right;
        this.results = [...this.results, now].slice(-MOST);
      }
      now.solved = verdict.right;
      if (verdict.fault) now.faults.push(verdict.fault);
      this.tell();
    }
    const words = `${verdict.right ? "✓" : "✕"} ${verdict.words}`;
    const shown = [el(`p.verdict.${verdict.right ? "pass" : "fail"}`, { "data-fault": verdict.fault }, words)];
    out.replaceChildren(...shown, ...(verdict.right ? this.way(verdict) : []));
  }

  /** @param {HTMLElement} out */
  async solve(out) {
    const now = this.now;
    const found = await this.app.ask({ kind: "solve" });
    if (!found || !now || now !== this.now) return;
    if (!now.tries && !now.shown) this.results = [...this.results, now].slice(-MOST); // given up
    now.shown = true;
    this.tell();
    out.replaceChildren(el("p", {}, `The answer is ${found.formula || number(found.value, 6)}.`), ...this.way(found));
  }

  /**
   * Return the way to the answer; the drawing may show derivatives again.
   * @param {any} found
   */
  way(found) {
    this.app.drawing.examine(false);
    return [
      wide(formula(found.solution)),
      el(
        "button.quiet",
        { type: "button", onclick: () => void this.app.open(found.target) },
        "See the whole derivation",
      ),
    ];
  }

  /** Show the score, and keep it. */
  tell() {
    const right = this.results.filter((result) => result.first).length;
    const count = this.results.length;
    this.score.textContent = count
      ? `${right} of ${plural(count, "exercise")} right at the first try.`
      : "An exercise about your network.";
    try {
      localStorage.setItem(KEPT, JSON.stringify(this.results));
    } catch {
      // a file or a notebook may have no storage; then the score lasts as long as the page
    }
  }

  /** Save the results as a CSV file. */
  save() {
    download(new Blob([table(this.results)], { type: "text/csv" }), "practice.csv");
  }

  close() {
    this.node.hidden = true;
    this.target = "";
    this.now = null;
    this.asking += 1;
    this.app.drawing.examine(false);
    this.app.lightUp();
  }
}

/**
 * Return results as CSV, in the order of the exercises.
 * @param {Result[]} results
 */
export function table(results) {
  const yes = (/** @type {boolean} */ it) => (it ? "yes" : "no");
  const heads = "exercise,about,weight,right at the first try,tries,hints before it,solved,solution shown,mistakes";
  const rows = results.map((r, i) => {
    const counts = [yes(r.first), r.tries, r.hints, yes(r.solved), yes(r.shown)];
    return [i + 1, r.about, `"${r.target}"`, ...counts, r.faults.join(" ")].join(",");
  });
  return `${[heads, ...rows].join("\n")}\n`;
}

/** @returns {Result[]} */
function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT) ?? "[]");
    return Array.isArray(kept) ? kept.filter(isResult) : [];
  } catch {
    return [];
  }
}

/** @param {any} it */
function isResult(it) {
  return (
    it !== null &&
    typeof it === "object" &&
    ["about", "target"].every((name) => /^[\w[\], ]*$/.test(it[name])) &&
    ["first", "solved", "shown"].every((name) => typeof it[name] === "boolean") &&
    ["tries", "hints"].every((name) => Number.isInteger(it[name])) &&
    Array.isArray(it.faults) &&
    it.faults.every((/** @type {any} */ fault) => /^\w*$/.test(fault))
  );
}
