/** The player below the network: forward, loss, backward, gradient and update, step by step. */

import { el, formula, wide } from "./dom.js";
import { remember } from "./memory.js";
import { plural } from "./numbers.js";

/** @typedef {import("./types").Step} Step */

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
    this.alone = true; // whether there is one choice of samples only
    const button = (/** @type {string} */ sign, /** @type {string} */ name, /** @type {() => void} */ act) =>
      el("button.icon", { type: "button", "aria-label": name, title: name, onclick: act }, sign);
    this.playButton = el("button", { type: "button", onclick: () => this.toggle() });
    this.dots = el("ol.dots", { "aria-label": "Steps" });
    this.place = el("span.small", {});
    this.scope = el("select", {
      "aria-label": "The steps are of",
      onchange: () => void app.change({ kind: "configure", scope: this.scope.value }),
    });
    this.list = el("details.all", {}, el("summary", {}, "All steps"), this.dots);
    remember(this.list, "All steps");
    this.list.addEventListener("toggle", () => void this.refresh());
    this.title = el("h2.steptitle", {}, "One step, in slow motion");
    this.words = el("p.words", {});
    this.equations = el("div.equations", {});
    this.acts = el("div.buttons", {}); // outside the equations, which scroll
    this.worked = el(
      "button.quiet",
      { type: "button", title: "Every number of this step, written out", onclick: () => void app.worked.start() },
      "Worked example",
    );
    this.text = el("div.text", { "aria-live": "polite" }, this.title, this.words, this.acts, this.equations);
    this.node = el(
      "div.player",
      { role: "group", "aria-label": "Forward and backward, step by step" },
      el(
        "div.controls",
        {},
        (this.back = button("◀", "Step back", () => void this.go(this.at - 1))),
        this.playButton,
        button("▶|", "Step forward", () => void this.go(this.at + 1)),
        this.scope,
        this.place,
        (this.close = button("✕", "Leave the steps", () => this.leave())),
      ),
      this.text,
      this.list,
    );
    this.node.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "ArrowRight") void this.go(this.at + 1);
      else if (event.key === "ArrowLeft") void this.go(this.at - 1);
    });
    this.pause();
    this.idle();
  }

  idle() {
    this.close.hidden = true;
    this.back.hidden = true;
    this.place.textContent = "";
    this.title.textContent = "One step, in slow motion";
    const all = this.app.frame?.settings.scope === "all";
    this.scope.hidden = this.alone || !all; // seen while it says something, and with the steps
    const step = this.app.transport.live ? " Step, above, takes a whole batch." : "";
    this.words.textContent = all
      ? "Play the forward and backward pass of this sample, one layer at a time; the gradients and the update are the mean over all."
      : `Play the forward pass, the backward pass and the update for this sample alone, one layer at a time.${step}`;
    this.equations.replaceChildren();
    this.acts.replaceChildren(this.worked);
    this.node.classList.add("idle");
  }

  /** @param {import("./types").Frame} frame */
  update(frame) {
    const { count, block } = frame.sample;
    this.alone = count < 2 || !this.app.transport.live;
    const all = `${count === block ? "all " : ""}${plural(block, "sample")} (mean)`;
    this.scope.replaceChildren(
      ...[
        ["sample", "this sample"],
        ["all", all],
      ].map(([value, words]) => el("option", { value }, words)),
    );
    this.scope.value = frame.settings.scope;
    if (this.at < 0) this.idle();
  }

  /** Ask for the steps again after a change: at once if they are shown, else when they are. */
  async refresh() {
    this.stale = true;
    if (this.at >= 0 || this.list.open) await this.load();
  }

  async load() {
    if (this.app.training || !this.app.frame) return;
    this.stale = false;
    const reply = await this.app.ask({ kind: "steps" });
    if (!reply) return;
    this.steps = reply.steps;
    this.dots.replaceChildren(
      ...this.steps.map((step, i) =>
        el("li", {}, el("button.dot", { type: "button", onclick: () => void this.go(i) }, step.title)),
      ),
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
    this.back.hidden = false;
    this.scope.hidden = this.alone;
    this.place.textContent = `step ${this.at + 1} of ${this.steps.length}`;
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
    if (!equation.target) return wide(math);
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
    this.playButton.textContent = "⏸ Pause the steps";
    const next = this.at + 1;
    void this.go(this.at >= 0 && next >= this.steps.length ? 0 : next);
    this.timer = window.setInterval(() => void this.go(this.at + 1), PAUSE);
    return undefined;
  }

  pause() {
    window.clearInterval(this.timer);
    this.timer = 0;
    this.playButton.textContent = "▶ Play the steps";
  }
}
