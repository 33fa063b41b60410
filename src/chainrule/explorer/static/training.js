/** The bar above the network: train, step, epoch, and a slider over the recorded steps. */

import { el } from "./dom.js";
import { remember } from "./memory.js";
import { counted, number } from "./numbers.js";

/** @typedef {import("./types").Frame} Frame */

export class TrainBar {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    /** @type {{ done: Promise<void>, stop(): void } | null} */
    this.run = null;
    this.play = el("button.main", { type: "button", onclick: () => this.toggle() }, this.label());
    this.count = el("input", { type: "number", min: 1, value: "100", "aria-label": "Number of steps" });
    const once = (/** @type {Record<string, unknown>} */ more) => () => void app.change({ kind: "train", ...more });
    this.buttons = el(
      "div.buttons",
      { role: "group", "aria-label": "Training" },
      this.play,
      el("button", { type: "button", onclick: once({ steps: 1 }) }, "Step"),
      (this.more = el("details.more", {}, el("summary", {}, "More"))),
    );
    this.more.append(
      el("button", { type: "button", onclick: once({ epochs: 1 }) }, "Epoch"),
      el("span.joined", {}, this.count, el("button", { type: "button", onclick: () => this.some() }, "steps")),
      el(
        "button.icon",
        {
          type: "button",
          title: "Back to the initial weights",
          "aria-label": "Back to the initial weights",
          onclick: () => void app.change({ kind: "seek", record: 0 }),
        },
        "↺",
      ),
      (this.pace = el(
        "select",
        { "aria-label": "Speed of training" },
        ...[
          ["1", "slow"],
          ["epoch", "by epochs"],
          ["", "full speed"],
        ].map(([value, words]) => el("option", { value }, words)),
      )),
    );
    this.pace.value = "epoch";
    remember(this.more, "Ways to train");
    this.slider = el("input", {
      type: "range",
      min: 0,
      max: 0,
      value: "0",
      "aria-label": "Recorded step",
      oninput: () => this.seek(),
    });
    this.at = el("output.at", {});
    this.facts = el("dl.facts", {});
    this.message = el("p.warning", { hidden: true, role: "alert" });
    this.node = el(
      "div.card.trainbar",
      {},
      app.transport.live ? this.buttons : el("div.buttons", {}, this.play),
      this.facts,
      (this.timeline = el("div.timeline", {}, this.slider, this.at)),
      this.message,
    );
    this.seeking = false;
  }

  /** @param {Frame} frame */
  update(frame) {
    const t = frame.training;
    const digits = Math.min(frame.settings.digits, 6);
    const facts = [
      ["epoch", "epoch", number(t.epoch, 6)],
      ["loss", "training loss", number(t.loss, digits)],
    ];
    if (t.val_loss !== null) facts.push(["validation", "validation loss", number(t.val_loss, digits)]);
    if (t.metric) facts.push(["accuracy", `${frame.data.validation ? "validation" : "training"} accuracy`, t.metric]);
    this.facts.replaceChildren(
      ...facts.map(([name, words, value]) =>
        el("div", {}, el("dt", {}, words), el("dd", { "data-fact": name }, value)),
      ),
    );
    this.count.max = frame.limits.steps;
    this.slider.max = String(Math.max(t.records.length - 1, 0));
    this.timeline.hidden = t.records.length < 2;
    if (!this.seeking) this.slider.value = String(t.record);
    this.slider.setAttribute("aria-valuetext", `step ${t.step}`);
    this.at.textContent = `step ${counted(t.step)}`;
    this.message.hidden = !t.message;
    this.message.textContent = t.message;
  }

  label() {
    return this.app.transport.live ? "▶ Train" : "▶ Play";
  }

  toggle() {
    if (this.run) void this.stop();
    else this.start({});
  }

  some() {
    const steps = Math.round(Number(this.count.value));
    if (!(steps >= 1))
      return this.app.tell(`The number of steps is ${this.count.value || "missing"}; expected 1 or more`);
    return this.start({ steps });
  }

  /** @param {Record<string, unknown>} request */
  start(request) {
    if (this.run) return;
    this.app.training = true;
    this.app.player.leave();
    this.play.textContent = "⏸ Pause";
    this.node.classList.add("running");
    const frame = this.app.frame;
    const epoch = Math.ceil(frame.data.train / frame.settings.batch_size);
    const pace = this.pace.value === "epoch" ? epoch : Number(this.pace.value);
    this.run = this.app.transport.train(pace ? { ...request, pace } : request, (/** @type {Frame} */ frame) => {
      if (!this.waiting) requestAnimationFrame(() => this.draw());
      this.waiting = frame;
    });
    this.ended = this.run?.done
      .catch((/** @type {Error} */ error) => this.app.tell(error.message))
      .then(() => this.end());
  }

  draw() {
    const frame = this.waiting;
    this.waiting = null;
    if (frame) this.app.show(frame);
  }

  async end() {
    this.draw();
    this.run = null;
    this.app.training = false;
    this.play.textContent = this.label();
    this.node.classList.remove("running");
    const frame = await this.app.ask({ kind: "look" });
    if (frame) {
      const message = this.app.frame?.training.message;
      if (message) frame.training.message = message;
      this.app.show(frame);
      await this.app.afterChange();
    }
  }

  async stop() {
    this.run?.stop();
    await this.ended;
  }

  async seek() {
    if (this.seeking) {
      this.again = true;
      return;
    }
    this.seeking = true;
    do {
      this.again = false;
      await this.app.change({ kind: "seek", record: Number(this.slider.value) });
    } while (this.again);
    this.seeking = false;
  }
}
