/** The derivation of one number: its sections, its proof and its LaTeX. */

import { contributions, samples } from "./contributions.js";
import { el, formula, scrolled, unique, wide } from "./dom.js";
import { Editor } from "./editor.js";
import { remember } from "./memory.js";
import { drawn, number, plural, typed } from "./numbers.js";
import { Pictures } from "./pictures.js";
import { certificate } from "./proof.js";

/** @typedef {import("./types").Derivation} Derivation */

const WHOLE = /^[Wb]\[\d+\]$/; // arrays
/** What the derivation of an array has none of. */
const OF_ONE = { value: "nan", old: "nan", editable: false, heads: [], samples: [], n_samples: 0, focus: 0 };

export class Panel {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.target = "";
    /** @type {Derivation | null} */
    this.shown = null;
    this.editor = new Editor(app);
    this.pictures = new Pictures(app);
    this.body = el("div.body", {});
    this.node = el("article.card.panel", { "aria-label": "Derivation" }, this.body);
    this.legend = this.signs();
    this.welcome();
  }

  welcome() {
    this.body.replaceChildren(
      el("h2", {}, "Ask any weight why"),
      el(
        "p",
        {},
        "Every line in the drawing is a weight. Click one to see its derivative: the factors of the chain rule, their numbers, and a proof.",
      ),
      el(
        "button.main.first",
        { type: "button", onclick: () => void this.app.open(heaviest(this.app.frame)) },
        "Show me one",
      ),
      this.legend,
    );
  }

  /** Return what the signs of the drawing mean, folded. */
  signs() {
    const node = el(
      "details.legend",
      {},
      el("summary", {}, "What the drawing shows"),
      el(
        "ul.hints",
        {},
        el("li", {}, el("span.key.positive", {}, "solid"), " a positive weight; thicker is larger"),
        el("li", {}, el("span.key.negative", {}, "dashed"), " a negative weight"),
        el("li", {}, el("span.key", {}, "δ"), " below a unit: ∂C/∂z"),
        el("li", {}, el("span.key", {}, "W, b"), " above a layer: all its weights, all its biases, as matrices"),
        el("li", {}, el("span.key", {}, "✕"), " a dead unit, ", el("span.key", {}, "≈"), " a saturated unit"),
      ),
      el(
        "p.small",
        {},
        "By keyboard: press Tab to reach the drawing, the arrow keys to move in it, and Enter to open a part.",
      ),
    );
    remember(node, "Legend");
    return node;
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
    const found = await this.app.ask({ kind: WHOLE.test(target) ? "array" : "explain", target });
    if (!found) {
      if (again) this.close();
      return undefined;
    }
    const reply = { ...OF_ONE, ...found };
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
    if (reply.editable && this.app.transport.live) shown.push(this.editor.render(reply));
    if (reply.kind === "explanation") shown.push(this.pictures.render(reply.target));
    for (const section of reply.sections) {
      const equations = section.equations.map((equation, i) => this.equation(equation, section.tags[i]));
      const content = el("div.content", {}, ...equations);
      if (section.contributions) content.append(contributions(this.app, reply.target, section.contributions, []));
      if (section.has_samples) content.append(samples(this.app, reply));
      const summary = el("summary", {}, el("span.title", {}, section.title));
      if (section.symbol) summary.append(formula(section.symbol));
      const closed = open ? !open.has(section.title) : false;
      shown.push(el("details.part", { open: !closed, "data-title": section.title }, summary, content));
    }
    shown.push(this.proof(), this.latex());
    this.body.replaceChildren(...shown);
    if (focus) /** @type {HTMLElement | null} */ (this.body.querySelector(`[data-keep="${focus}"]`))?.focus();
    if (!again) this.node.scrollTop = 0;
    if (!again && (this.app.app.clientWidth < 1000 || this.app.worked.open))
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
        parts[i]
          .querySelector(".contributions")
          ?.replaceWith(contributions(this.app, reply.target, section.contributions, []));
      }
      if (section.has_samples) parts[i].querySelector(".scroll")?.replaceWith(samples(this.app, reply));
    });
    this.body.querySelector(".headline")?.replaceWith(this.headline(reply));
    const box = this.body.querySelector(".editor input[type=number]");
    for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (this.body.querySelectorAll(".editor input"))) {
      if (document.activeElement !== input) input.value = typed(drawn(reply.old), input === box ? 6 : undefined);
    }
    this.proofOut?.replaceChildren();
    if (reply.kind === "explanation") void this.pictures.load();
    return true;
  }

  /** @param {Derivation} reply */
  headline(reply) {
    const node = scrolled(formula(reply.headline, "h2.headline"));
    node.setAttribute(
      "aria-label",
      reply.text ??
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
      wide(formula(equation.mathml), tag ? el("span.tag", {}, tag) : null),
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
        ? [el("p", {}, step.words), ...step.equations.map((/** @type {any} */ e) => wide(formula(e.mathml)))]
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

/**
 * Return the weight of the last layer with the largest gradient, to begin with.
 * @param {import("./types").Frame} frame
 */
function heaviest(frame) {
  const last = frame.layers.length - 1;
  let [best, target] = [-1, `w[${last}][${frame.layers[last].shown[0]},${frame.layers[last - 1].shown[0]}]`];
  frame.weights[last - 1].dw.forEach((row, to) => {
    row.forEach((value, from) => {
      if (Math.abs(drawn(value)) <= best) return;
      best = Math.abs(drawn(value));
      target = `w[${last}][${frame.layers[last].shown[to]},${frame.layers[last - 1].shown[from]}]`;
    });
  });
  return target;
}

function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
