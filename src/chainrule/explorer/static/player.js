/** The player below the network: forward, loss, backward, gradient and update, step by step. */

import { el, formula } from "./dom.js";
import { plural } from "./numbers.js";

/** @typedef {import("./types").Step} Step */

const SIGNS = { forward: "→", backward: "←", gradient: "∂w", update: "w" };

const PAUSE = 2200; // milliseconds to read a step while the player runs

export class Player {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    /** @type {Step[]} */
    this.steps = [];
    this.at = -1;
    this.timer = 0;
    this.stale = true;
    this.depth = 0;
    this.notation = "";
    const button = (/** @type {string} */ sign, /** @type {string} */ name, /** @type {() => void} */ act) =>
      el("button.icon", { type: "button", "aria-label": name, title: name, onclick: act }, sign);
    this.playButton = button("▶", "Play the steps", () => this.toggle());
    this.dots = el("ol.dots", { "aria-label": "Steps" });
    this.title = el("h2.steptitle", {}, "One step, in slow motion");
    this.words = el("p.words", {});
    this.equations = el("div.equations", {});
    this.acts = el("div.buttons", {}); // outside the equations, which scroll
    this.text = el("div.text", { "aria-live": "polite" }, this.title, this.words, this.acts, this.equations);
    this.node = el(
      "div.player",
      { role: "group", "aria-label": "Forward and backward, step by step" },
      el(
        "div.controls",
        {},
        button("◀", "Step back", () => void this.go(this.at - 1)),
        this.playButton,
        button("▶|", "Step forward", () => void this.go(this.at + 1)),
        this.dots,
        (this.close = button("✕", "Leave the steps", () => this.leave())),
      ),
      this.text,
    );
    this.node.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "ArrowRight") void this.go(this.at + 1);
      else if (event.key === "ArrowLeft") void this.go(this.at - 1);
    });
    this.idle();
  }

  idle() {
    this.close.hidden = true;
    this.title.textContent = "One step, in slow motion";
    const { settings, sample } = this.app.frame ?? {};
    const batch = settings?.scope === "all" && sample.block > 1;
    const whose = batch
      ? `for this sample, then the mean over ${plural(sample.block, "sample")} and its update, one layer at a time`
      : "for this sample alone, one layer at a time (Step, above, takes a whole batch; to see the mean of a batch here, choose it in a derivation)";
    this.words.textContent = `Play the forward pass, the backward pass and the update ${whose}. Or click a weight, a unit or a bias to see its chain rule.`;
    this.equations.replaceChildren();
    this.acts.replaceChildren();
    this.node.classList.add("idle");
  }

  /** Ask for the steps again after a change: at once if they are shown, else when they are. */
  async refresh() {
    this.stale = true;
    if (this.at < 0) this.idle();
    const { sizes } = this.app.frame.network;
    const { notation } = this.app.frame.settings;
    if (this.at >= 0 || sizes.length !== this.depth || notation !== this.notation) await this.load();
  }

  async load() {
    if (this.app.training) return;
    this.stale = false;
    this.depth = this.app.frame.network.sizes.length;
    this.notation = this.app.frame.settings.notation;
    const reply = await this.app.ask({ kind: "steps" });
    if (!reply) return;
    this.steps = reply.steps;
    this.dots.replaceChildren(
      ...this.steps.map((step, i) => {
        const { letters } = this.app.frame.settings;
        const signs = /** @type {Record<string, string>} */ ({ ...SIGNS, input: letters.x, loss: letters.C });
        const name = `${signs[step.phase]}${["forward", "backward", "gradient"].includes(step.phase) ? step.layer : ""}`;
        return el(
          "li",
          {},
          el(`button.dot.${step.phase}`, {
            type: "button",
            "data-sign": name,
            "aria-label": step.title,
            title: step.title,
            onclick: () => void this.go(i),
          }),
        );
      }),
    );
    if (this.at >= 0) this.show();
  }

  /** @param {number} i */
  async go(i) {
    if (this.stale) await this.load();
    if (i < 0) return this.leave();
    if (i >= this.steps.length) {
      this.pause();
      return undefined;
    }
    this.at = i;
    return this.show();
  }

  show() {
    const step = this.steps[this.at];
    if (!step) return this.leave();
    this.node.classList.remove("idle");
    this.close.hidden = false;
    this.title.textContent = step.title;
    this.words.textContent = step.words;
    this.equations.replaceChildren(...step.equations.map((equation) => this.equation(equation)));
    this.acts.replaceChildren();
    if (step.phase === "update" && this.app.transport.live) {
      this.acts.append(
        el(
          "button.main",
          { type: "button", onclick: () => void this.app.change({ kind: "update" }) },
          "Make this update",
        ),
      );
    }
    [...this.dots.querySelectorAll("button")].forEach((dot, i) => {
      if (i === this.at) dot.setAttribute("aria-current", "step");
      else dot.removeAttribute("aria-current");
      dot.classList.toggle("done", i < this.at);
    });
    this.app.drawing.showStep({ phase: step.phase, layer: step.layer });
    return undefined;
  }

  /** @param {import("./types").Equation} equation */
  equation(equation) {
    const math = formula(equation.mathml);
    if (!equation.target) return el("div.eq", {}, math);
    return el(
      "button.eq",
      { type: "button", title: `Open ${equation.target}`, onclick: () => void this.app.open(equation.target) },
      math,
    );
  }

  leave() {
    this.pause();
    this.at = -1;
    for (const dot of this.dots.querySelectorAll("button")) {
      dot.removeAttribute("aria-current");
      dot.classList.remove("done");
    }
    this.app.drawing.showStep(null);
    this.idle();
  }

  toggle() {
    if (this.timer) return this.pause();
    this.playButton.textContent = "⏸";
    this.playButton.setAttribute("aria-label", "Pause the steps");
    void this.go(this.at + 1 < this.steps.length ? this.at + 1 : 0);
    this.timer = window.setInterval(() => void this.go(this.at + 1), PAUSE);
    return undefined;
  }

  pause() {
    window.clearInterval(this.timer);
    this.timer = 0;
    this.playButton.textContent = "▶";
    this.playButton.setAttribute("aria-label", "Play the steps");
  }
}
