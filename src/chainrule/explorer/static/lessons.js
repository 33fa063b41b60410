/** Lessons: stops with a text, formulas, a question and buttons, as Python has read them from a file. */

import { el, formula, unique } from "./dom.js";
import { number } from "./numbers.js";

/** @typedef {import("./types").Stop} Stop */
/** @typedef {import("./types").Block} Block */

const MOST = 65536; // characters of a lesson

export class Lessons {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    /** @type {Stop | null} */
    this.stop = null;
    /** @type {string[]} */
    this.titles = [];
    this.target = ""; // of the stop
    this.title = "";
    this.language = "en";
    /** What the page says around lessons. @type {Record<string, string>} */
    this.words = {};
    /** The settings before the lesson. @type {Record<string, unknown> | null} */
    this.before = null;
    /** @type {any} */ this.heading = null;
    this.body = el("div.body", {});
    this.node = el("article.card.lesson", { hidden: true, "aria-label": "Lesson" }, this.body);
  }

  toggle() {
    if (this.node.hidden) void this.choose();
    else this.close();
  }

  /** Begin the lesson that the explorer was opened with, if there is one. */
  async start() {
    const reply = await this.app.ask({ kind: "lessons", language: this.language });
    if (!reply?.start) return;
    this.words = reply.words;
    await this.begin({ lesson: reply.start });
  }

  async choose() {
    const reply = await this.app.ask({ kind: "lessons", language: this.language });
    if (!reply) return;
    this.words = reply.words;
    this.node.hidden = false;
    this.node.lang = reply.language;
    this.app.practice.close();
    this.app.worked.close();
    const language = el(
      "select",
      {
        "aria-label": this.words.language,
        onchange: () => {
          this.language = language.value;
          void this.choose();
        },
      },
      ...Object.entries(reply.languages).map(([value, name]) => el("option", { value, lang: value }, String(name))),
    );
    language.value = this.language;
    const id = unique("lesson");
    const file = el("input.file", {
      id,
      type: "file",
      accept: ".md,text/markdown",
      "aria-label": this.words.file,
      onchange: () => void this.load(file),
    });
    this.body.replaceChildren(
      this.top(this.words.lessons),
      el("p", {}, this.words.intro),
      language,
      el(
        "div.choices",
        {},
        ...reply.lessons.map((/** @type {any} */ lesson, /** @type {number} */ i) =>
          el(
            "button.choice",
            { type: "button", onclick: () => void this.begin({ lesson: lesson.name }) },
            el("b", {}, `${i + 1}  ${lesson.title}`),
            el("span", {}, lesson.summary),
          ),
        ),
      ),
      el("label.upload", { for: id }, this.words.file, file),
    );
    this.focus();
  }

  /** @param {HTMLInputElement} file */
  async load(file) {
    const chosen = file.files?.[0];
    if (!chosen) return;
    if (chosen.size > MOST) this.app.tell(`The file has ${chosen.size} bytes; expected at most ${MOST}`);
    else await this.begin({ text: await chosen.text() });
    file.value = "";
  }

  /** @param {string} title */
  top(title) {
    return el(
      "div.top",
      {},
      (this.heading = el("h2", { tabindex: -1 }, title)),
      el("button.icon.close", { type: "button", "aria-label": this.words.close, onclick: () => this.close() }, "✕"),
    );
  }

  focus() {
    this.app.learn();
    this.heading?.focus({ preventScroll: true });
    const { clientWidth } = this.app.app;
    if (clientWidth < 760 && this.stop)
      this.app.main.scrollIntoView({ block: "start" }); // the drawing, and the lesson below
    else if (clientWidth < 1000) this.node.scrollIntoView({ block: "start" });
  }

  /** @param {Record<string, unknown>} which */
  async begin(which) {
    const before = { ...this.app.frame.settings };
    const reply = await this.app.ask({ kind: "tour", language: this.language, ...which });
    if (!reply) return;
    this.before ??= before;
    this.given = reply.frame.settings;
    this.titles = reply.titles;
    this.title = reply.title;
    this.stop = null;
    this.node.hidden = false;
    this.node.lang = reply.language;
    this.app.panel.close();
    this.app.worked.close();
    this.app.show(reply.frame);
    await this.app.afterChange();
    await this.go(0);
  }

  /** Write the formulas again with the numbers of the network as it is. */
  async refresh() {
    if (this.node.hidden || !this.stop || this.app.training) return;
    const stop = await this.app.ask({ kind: "stop", at: this.stop.at });
    if (!stop || this.stop?.at !== stop.at) return;
    this.stop = stop;
    this.body.querySelector(".formulas")?.replaceWith(this.formulas(stop));
  }

  /** @param {number} i */
  async go(i) {
    const opened = this.app.panel.target;
    const stop = /** @type {Stop | null} */ (await this.app.ask({ kind: "stop", at: i }));
    if (!stop) return;
    this.stop = stop;
    this.target = stop.mark;
    const last = i === this.titles.length - 1;
    const next = el(
      "button.main",
      { type: "button", onclick: () => (last ? this.close() : void this.go(i + 1)) },
      last ? this.words.done : this.words.next,
    );
    const back = el(
      "button",
      { type: "button", disabled: i === 0, onclick: () => void this.go(i - 1) },
      this.words.back,
    );
    const place = this.say("place", { title: this.title, at: String(i + 1), count: String(this.titles.length) });
    this.body.replaceChildren(
      this.top(stop.title),
      el("p.small", {}, place),
      el("progress", { max: this.titles.length, value: String(i + 1), "aria-label": this.words.progress }),
      ...written(stop.text),
      this.formulas(stop),
      ...this.question(stop),
      el("div.buttons", {}, ...this.acts(stop)),
      (this.out = el("div.out", { "aria-live": "polite" })),
      el("div.buttons", {}, back, next),
    );
    this.lightUp(stop, opened);
    if (stop.open === "health") this.app.health.node.open = true;
    this.focus();
  }

  /**
   * @param {Stop} stop
   * @param {string} opened what the panel showed when the reader went on; what was opened since stays
   */
  lightUp(stop, opened) {
    const { drawing, panel } = this.app;
    drawing.showStep(stop.phase && stop.phase !== "input" ? { phase: stop.phase, layer: stop.layer } : null);
    if (stop.act === "prove") void this.app.open(stop.mark);
    else if (panel.target && panel.target === opened) panel.close();
    this.app.lightUp();
  }

  /** @param {Stop} stop */
  formulas(stop) {
    const first = this.app.frame.settings.first_index;
    const digits = this.app.frame.settings.digits;
    const nodes = stop.equations.map((equation) =>
      el(
        "div.line",
        {},
        equation.lead ? el("p.lead", {}, equation.lead) : null,
        el("div.eq", { tabindex: 0, role: "group", "aria-label": equation.text }, formula(equation.mathml)),
      ),
    );
    if (stop.samples.length) {
      const head = [
        el("th", { scope: "col" }, this.words.sample),
        ...stop.heads.map((one) =>
          el("th", { scope: "col" }, el("span.unseen", {}, one.text), hidden(formula(one.mathml))),
        ),
        el("th", { scope: "col" }, this.words.product),
      ];
      const rows = stop.samples.map(([index, ...values]) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, String(Number(index) + first)),
          ...values.map((value) => el("td", {}, number(value, digits))),
        ),
      );
      const table = el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
      nodes.push(el("div.scroll", { tabindex: 0, role: "region", "aria-label": this.words.table }, table));
    }
    return el("div.formulas", {}, ...nodes);
  }

  /** @param {Stop} stop */
  question(stop) {
    const question = stop.question;
    if (!question) return [];
    const out = el("div.out", { role: "status" });
    const respond = async (/** @type {Record<string, unknown>} */ answer) => {
      const reply = await this.app.ask({ kind: "respond", at: stop.at, ...answer });
      if (!reply) return;
      const verdict = reply.right ? `✓ ${this.words.right}` : `✕ ${this.words.wrong}`;
      out.replaceChildren(el(`p.verdict.${reply.right ? "pass" : "fail"}`, {}, verdict), ...written(reply.words));
    };
    const answers = question.choices.length
      ? el(
          "div.choices",
          {},
          ...question.choices.map((words, choice) =>
            el("button.choice.option", { type: "button", onclick: () => void respond({ choice }) }, words),
          ),
        )
      : this.answer(out, respond);
    return [el("div.ask", { role: "group", "aria-label": question.ask }, el("p", {}, question.ask), answers, out)];
  }

  /**
   * @param {HTMLElement} out
   * @param {(answer: Record<string, unknown>) => Promise<void>} respond
   */
  answer(out, respond) {
    const id = unique("answer");
    const box = el("input", { id, type: "text", inputmode: "decimal", autocomplete: "off", spellcheck: "false" });
    return el(
      "form.answer",
      {
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          const text = box.value
            .trim()
            .replace("−", "-")
            .replace(/^(-?\d*),(\d+)$/, "$1.$2");
          const value = Number(text);
          if (text === "" || !Number.isFinite(value)) out.replaceChildren(el("p.verdict.fail", {}, this.words.number));
          else void respond({ value });
        },
      },
      el("label", { for: id }, this.words.answer),
      box,
      el("button", { type: "submit" }, this.words.check),
    );
  }

  /** @param {Stop} stop */
  acts(stop) {
    const button = (/** @type {string} */ label, /** @type {() => unknown} */ act) =>
      el("button", { type: "button", onclick: act }, label);
    const made = stop.buttons.map((b) => button(b.label, () => void this.make(b.requests)));
    if (stop.act === "update") made.push(button(this.words.update, () => void this.make([{ kind: "update" }])));
    if (stop.act === "prove") made.push(button(this.words.prove, () => this.app.panel.prove?.click()));
    return made;
  }

  /** @param {Record<string, unknown>[]} requests */
  async make(requests) {
    const before = this.app.frame.training.loss;
    for (const request of requests) if (!(await this.app.change(request))) return;
    const after = this.app.frame.training.loss;
    this.out.textContent = this.say("changed", { before: number(before, 5), after: number(after, 5) });
  }

  /**
   * Return a sentence with its gaps filled.
   * @param {string} name
   * @param {Record<string, string>} given
   */
  say(name, given) {
    return this.words[name].replace(/\{(\w+)\}/g, (_, key) => given[key]);
  }

  close() {
    if (this.node.hidden) return;
    this.node.hidden = true;
    this.target = "";
    this.stop = null;
    this.app.learn();
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
      ["notation", "scope"]
        .filter((name) => now[name] === given[name] && now[name] !== before[name])
        .map((name) => [name, before[name]]),
    );
    if (Object.keys(fields).length) void this.app.change({ kind: "configure", ...fields });
  }
}

/** @param {HTMLElement} node */
function hidden(node) {
  node.setAttribute("aria-hidden", "true");
  return node;
}

/**
 * Return blocks of text as elements; nothing in them is HTML.
 * @param {Block[]} blocks
 */
function written(blocks) {
  const nodes = /** @type {HTMLElement[]} */ ([]);
  for (const block of blocks) {
    const spans = block.spans.map((span) => (span.style ? el(span.style, {}, span.text) : span.text));
    if (block.kind === "p") nodes.push(el("p", {}, ...spans));
    else {
      if (nodes[nodes.length - 1]?.localName !== "ul") nodes.push(el("ul.items", {}));
      nodes[nodes.length - 1].append(el("li", {}, ...spans));
    }
  }
  return nodes;
}
