/** The derivation of one number: terms, contributions, samples, proof, update. */

import { bar, el, formula, symbol, unique } from "./dom.js";
import { parse } from "./facts.js";
import { drawn, number, plural, typed } from "./numbers.js";
import { certificate } from "./proof.js";

/** @typedef {import("./types").Derivation} Derivation */
/** @typedef {import("./types").Contributions} Contributions */

export class Panel {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.target = "";
    /** @type {Derivation | null} */
    this.shown = null;
    this.body = el("div.body", {});
    this.node = el("article.card.panel", { "aria-label": "Derivation" }, this.body);
    this.welcome();
  }

  welcome() {
    this.body.replaceChildren(
      el("h2", {}, "Ask any weight why"),
      el(
        "p",
        {},
        "Every line in the drawing is a weight. Click one to split its derivative into the factors of the chain rule: in symbols, in the numbers of this sample, and with a proof.",
      ),
      el(
        "ul.hints",
        {},
        el("li", {}, el("span.key.positive", {}, "solid"), " a positive weight; thicker is larger"),
        el("li", {}, el("span.key.negative", {}, "dashed"), " a negative weight"),
        el("li", {}, el("span.key", {}, "δ"), " below a unit: ∂C/∂z"),
        el("li", {}, el("span.key", {}, "✕"), " a dead unit, ", el("span.key", {}, "≈"), " a saturated unit"),
      ),
      el(
        "p.small",
        {},
        "By keyboard: press Tab to reach the drawing, the arrow keys to move in it, and Enter to open a part.",
      ),
    );
  }

  close() {
    this.target = "";
    this.shown = null;
    this.app.lightUp();
    this.welcome();
  }

  async refresh() {
    if (this.target && !this.app.training) await this.open(this.target, true);
  }

  /**
   * @param {string} target
   * @param {boolean} [again] the same with new numbers
   */
  async open(target, again = false) {
    this.target = target;
    if (target === "loss") return this.showLoss();
    const reply = await this.app.ask({ kind: "explain", target });
    if (!reply) {
      if (again) this.close();
      return undefined;
    }
    if (this.target !== target) return undefined; // another was opened meanwhile
    const before = this.shown;
    this.shown = reply;
    if (!(again && before && this.patch(before, reply))) this.show(reply, again);
    return undefined;
  }

  /**
   * @param {Derivation} reply
   * @param {boolean} again
   */
  show(reply, again) {
    const open = again ? this.openedSections() : null;
    const focus =
      again && this.body.contains(document.activeElement)
        ? /** @type {HTMLElement} */ (document.activeElement).dataset.keep
        : "";
    const headline = this.headline(reply);
    const shown = /** @type {Node[]} */ ([
      this.back(),
      el(
        "div.top",
        {},
        headline,
        el(
          "button.icon.close",
          { type: "button", "aria-label": "Close the derivation", onclick: () => this.close() },
          "✕",
        ),
      ),
      el("p.small", {}, reply.words),
      this.scope(),
    ]);
    if (reply.editable && this.app.transport.live) shown.push(this.editor(reply));
    for (const section of reply.sections) {
      const equations = section.equations.map((equation, i) => this.equation(equation, section.tags[i]));
      const content = el("div.content", {}, ...equations);
      if (section.contributions) content.append(this.contributions(section.contributions, []));
      if (section.has_samples) content.append(this.samples(reply));
      const summary = el("summary", {}, el("span.title", {}, section.title));
      if (section.symbol) summary.append(formula(section.symbol));
      const closed = open ? !open.has(section.title) : false;
      shown.push(el("details.part", { open: !closed, "data-title": section.title }, summary, content));
    }
    shown.push(this.proof(), this.latex());
    this.body.replaceChildren(...shown);
    if (focus) /** @type {HTMLElement | null} */ (this.body.querySelector(`[data-keep="${focus}"]`))?.focus();
    if (!again) this.node.scrollTop = 0;
    if (!again && this.app.app.clientWidth < 1000)
      this.node.scrollIntoView({ block: "start", behavior: calm() ? "auto" : "smooth" });
  }

  /**
   * Put new numbers into the derivation on the page, if only numbers differ.
   * @param {Derivation} before
   * @param {Derivation} reply
   * @returns {boolean} whether that was possible
   */
  patch(before, reply) {
    const shape = (/** @type {Derivation} */ d) =>
      JSON.stringify([
        d.target,
        d.words,
        d.heads,
        d.samples.length,
        d.sections.map((s) => [
          s.title,
          s.symbol,
          s.equations.length,
          s.has_samples,
          s.contributions?.largest.map((p) => p.unit),
        ]),
      ]);
    if (shape(before) !== shape(reply)) return false;
    const parts = [...this.body.querySelectorAll("details.part")];
    reply.sections.forEach((section, i) => {
      const old = before.sections[i];
      const lines = parts[i].querySelectorAll(":scope > .content > .line");
      section.equations.forEach((equation, at) => {
        if (equation.mathml !== old.equations[at].mathml)
          lines[at].replaceWith(this.equation(equation, section.tags[at]));
      });
      if (section.contributions && JSON.stringify(section.contributions) !== JSON.stringify(old.contributions)) {
        parts[i].querySelector(".contributions")?.replaceWith(this.contributions(section.contributions, []));
      }
      if (section.has_samples) parts[i].querySelector(".scroll")?.replaceWith(this.samples(reply));
    });
    this.body.querySelector(".headline")?.replaceWith(this.headline(reply));
    const box = this.body.querySelector(".editor input[type=number]");
    for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (this.body.querySelectorAll(".editor input"))) {
      if (document.activeElement !== input) input.value = typed(drawn(reply.old), input === box ? 6 : undefined);
    }
    this.proofOut?.replaceChildren();
    return true;
  }

  /** @param {Derivation} reply */
  headline(reply) {
    const node = formula(reply.headline, "h2.headline");
    node.setAttribute(
      "aria-label",
      `Derivative with respect to ${reply.target}: ${number(reply.value, this.app.frame.settings.digits)}`,
    );
    return node;
  }

  /** Return the button that leads back to a drawing above the panel. */
  back() {
    return el(
      "button.quiet.back",
      { type: "button", onclick: () => this.app.drawing.comeBack() },
      "↑ Back to the drawing",
    );
  }

  openedSections() {
    return new Set(
      [...this.body.querySelectorAll("details.part[open]")].map((d) => /** @type {HTMLElement} */ (d).dataset.title),
    );
  }

  /**
   * @param {{ lead: string, mathml: string }} equation
   * @param {string} tag
   */
  equation(equation, tag) {
    return el(
      "div.line",
      {},
      equation.lead ? el("p.lead", {}, equation.lead) : null,
      el("div.eq", {}, formula(equation.mathml), tag ? el("span.tag", {}, tag) : null),
    );
  }

  scope() {
    const frame = this.app.frame;
    const { count: n, block } = frame.sample;
    if (n < 2 || !this.app.transport.live) return el("span", { hidden: true });
    const name = unique("scope");
    const choice = (/** @type {string} */ value, /** @type {string} */ words) =>
      el(
        "label",
        {},
        el("input", {
          type: "radio",
          name,
          value,
          "data-keep": `scope ${value}`,
          checked: frame.settings.scope === value,
          onchange: () => void this.app.change({ kind: "configure", scope: value }),
        }),
        el("span", {}, words),
      );
    return el(
      "fieldset.scope",
      {},
      el("legend", {}, "The loss of"),
      choice("sample", "this sample"),
      choice("all", `${n === block ? "all " : ""}${plural(block, "sample")} (mean)`),
    );
  }

  /** @param {Derivation} reply */
  editor(reply) {
    const target = reply.target;
    const value = drawn(reply.old);
    const span = Math.max(2, Math.abs(value) * 2);
    const send = (/** @type {string} */ text) => {
      const number_ = Number(text);
      if (text.trim() === "" || !Number.isFinite(number_)) return this.app.tell("Type a number, such as −0.25");
      return this.edit(target, number_);
    };
    const box = el("input", {
      type: "number",
      step: "any",
      value: typed(value, 6),
      "data-keep": "box",
      "aria-label": `Value of ${target}`,
      onchange: () => send(box.value),
    });
    const slider = el("input", {
      type: "range",
      min: -span,
      max: span,
      step: span / 200,
      value: typed(value),
      "data-keep": "slider",
      "aria-label": `Slider for ${target}`,
      oninput: () => {
        box.value = slider.value;
        void send(slider.value);
      },
    });
    return el("div.editor", {}, el("span.what", {}, `${this.nameOf(target)} =`), box, slider);
  }

  /**
   * Return the name of a quantity in the notation in use.
   * @param {string} target
   */
  nameOf(target) {
    const found = parse(target);
    if (!found) return target;
    const { frame } = this.app;
    const letter = found.kind === "x" ? frame.settings.letters.x : found.kind;
    return symbol(frame, letter, found.layer, found.j, ...(found.kind === "w" ? [found.k] : []));
  }

  /**
   * @param {string} target
   * @param {number} value
   */
  async edit(target, value) {
    this.wanted = value;
    if (this.editing) return;
    this.editing = true;
    while (this.wanted !== undefined) {
      const next = this.wanted;
      this.wanted = undefined;
      await this.app.change({ kind: "edit", target, value: next });
    }
    this.editing = false;
  }

  /**
   * @param {Contributions} parts
   * @param {number[]} units the path that led here
   */
  contributions(parts, units) {
    const digits = this.app.frame.settings.digits;
    const first = this.app.frame.settings.first_index;
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
            onmouseenter: () => this.lightUp(way),
            onfocus: () => this.lightUp(way),
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
        if (details.open) void this.openWay(way, inside, part);
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
   * @param {number[]} way
   * @param {HTMLElement} inside
   * @param {import("./types").Contribution} part
   */
  async openWay(way, inside, part) {
    this.lightUp(way);
    if (inside.childElementCount) return;
    const reply = await this.app.ask({ kind: "open", target: this.target, units: way });
    if (!reply) return;
    inside.append(el("div.eq", {}, formula(part.symbol)));
    for (const term of reply.terms) {
      inside.append(el("div.eq", {}, formula(term.numbers)));
    }
    const sum = reply.terms.find((/** @type {any} */ term) => term.contributions !== null);
    if (sum) inside.append(this.contributions(sum.contributions, way));
  }

  /** @param {number[]} way */
  lightUp(way) {
    const start = parse(this.target);
    if (start) this.app.drawing.showPath(start.layer, way);
  }

  /** @param {Derivation} reply */
  samples(reply) {
    const digits = this.app.frame.settings.digits;
    const first = this.app.frame.settings.first_index;
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

  proof() {
    const out = el("div.proof", { "aria-live": "polite" });
    const button = el(
      "button",
      {
        type: "button",
        onclick: async () => {
          button.disabled = true;
          out.textContent = "Proving …";
          const reply = await this.app.ask({ kind: "prove", target: this.target });
          button.disabled = false;
          if (document.activeElement === document.body) button.focus(); // disabling it took the focus away
          out.replaceChildren(...(reply ? certificate(reply.certificate) : []));
        },
      },
      "Prove it",
    );
    this.prove = button;
    this.proofOut = out;
    return el(
      "details.part",
      { open: true, "data-title": "proof" },
      el("summary", {}, el("span.title", {}, "The proof")),
      el(
        "div.content",
        {},
        el(
          "p.lead",
          {},
          "Compare the derivative with a difference quotient, a value with 30 digits and, if PyTorch or JAX is installed, automatic differentiation.",
        ),
        button,
        out,
      ),
    );
  }

  latex() {
    return el(
      "button.quiet",
      {
        type: "button",
        onclick: async () => {
          const reply = await this.app.ask({ kind: "latex", target: this.target });
          if (!reply) return;
          try {
            await navigator.clipboard.writeText(reply.latex);
            this.app.tell("Copied the derivation as LaTeX");
          } catch {
            this.app.share.showText("LaTeX", reply.latex);
          }
        },
      },
      "Copy as LaTeX",
    );
  }

  async showLoss() {
    if (this.app.player.stale) await this.app.player.load();
    const step = this.app.player.steps.find((/** @type {any} */ s) => s.phase === "loss");
    const frame = this.app.frame;
    const last = frame.layers.length - 1;
    const outputs = frame.layers[last].shown;
    const { a, C } = frame.settings.letters;
    this.body.replaceChildren(
      this.back(),
      el(
        "div.top",
        {},
        el("h2", {}, "The loss of this sample"),
        el(
          "button.icon.close",
          { type: "button", "aria-label": "Close the derivation", onclick: () => this.close() },
          "✕",
        ),
      ),
      ...(step
        ? [
            el("p", {}, step.words),
            ...step.equations.map((/** @type {any} */ e) => el("div.eq", {}, formula(e.mathml))),
          ]
        : []),
      el("h3", {}, "How the loss changes with each output"),
      el(
        "ul.list",
        {},
        ...outputs.map((/** @type {number} */ j) =>
          el(
            "li",
            {},
            el(
              "button.quiet",
              { type: "button", onclick: () => void this.app.open(`a[${last}][${j}]`) },
              `∂${C}/∂${a}[${last}][${j}] = ${number(frame.layers[last].dC_da[j], frame.settings.digits)}`,
            ),
          ),
        ),
      ),
    );
  }
}

function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
