/** The whole worked example: every number of a step of training, passage by passage or all at once. */

import { el, formula, unique } from "./dom.js";

/** @typedef {import("./types").WorkedExample} WorkedExample */
/** @typedef {import("./types").Passage} Passage */

const NARROW = 3; // columns of a matrix that stands beside the index form on a small screen

export class Worked {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    /** @type {WorkedExample | null} */
    this.reply = null;
    this.at = 0;
    this.whole = false; // all passages at once
    this.steps = 1;
    this.frozen = false;
    this.body = el("div.body", {});
    this.node = el("article.card.worked", { hidden: true, "aria-label": "Worked example" }, this.body);
    this.node.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.key(event));
  }

  get open() {
    return !this.node.hidden;
  }

  /** Open the example at its first passage. */
  async start() {
    const reply = await this.load();
    if (!reply) return;
    const { app } = this;
    for (const part of [app.lessons, app.practice, app.panel]) part.close();
    app.player.leave();
    this.node.hidden = false;
    this.at = 0;
    app.learn();
    this.build(reply);
    this.heading.focus({ preventScroll: true });
    if (app.app.clientWidth < 760) app.main.scrollIntoView({ block: "start" });
    else if (app.app.clientWidth < 1120) this.node.scrollIntoView({ block: "start" });
    else app.aside.parentElement.scrollTop = 0;
  }

  /** Write everything again with the numbers of the network as it is. */
  async refresh() {
    if (!this.open || this.app.training) return;
    const reply = await this.load();
    if (!this.open) return;
    if (reply) this.build(reply);
    else this.close();
  }

  /** @returns {Promise<WorkedExample | null>} */
  load() {
    const { language } = this.app.lessons;
    return this.app.ask({ kind: "worked", steps: this.steps, freeze_biases: this.frozen, language });
  }

  close() {
    if (!this.open) return;
    const inside = this.node.contains(document.activeElement);
    this.node.hidden = true;
    this.app.learn();
    this.app.drawing.showStep(null);
    if (inside) this.app.player.worked.focus();
  }

  // --- the card ----------------------------------------------------------------------------------

  /** @param {WorkedExample} reply */
  build(reply) {
    const inside = this.node.contains(document.activeElement);
    const focused = inside ? /** @type {HTMLElement} */ (document.activeElement).dataset.keep : "";
    this.reply = reply;
    this.at = Math.min(this.at, reply.passages.length - 1);
    const { words } = reply;
    this.node.lang = reply.language;
    this.heading = el("h2", { tabindex: -1, "data-keep": "heading" }, words.worked);
    const close = el(
      "button.icon.close",
      { type: "button", "aria-label": words.worked_close, onclick: () => this.close() },
      "✕",
    );
    this.content = el("div.passages", {});
    this.body.replaceChildren(
      el("div.top", {}, this.heading, close),
      el("p.small", { lang: "en" }, `${reply.setting}.`),
      this.choices(reply),
      this.walk(reply),
      this.content,
    );
    this.show();
    const kept = focused && this.body.querySelector(`[data-keep="${focused}"]`);
    if (inside) (kept || this.heading).focus({ preventScroll: true });
  }

  /** @param {WorkedExample} reply */
  choices(reply) {
    const { words } = reply;
    const id = unique("steps");
    const steps = el("input", {
      id,
      type: "number",
      min: 1,
      max: 5,
      value: String(reply.steps),
      "data-keep": "steps",
      onchange: () => this.choose(Math.round(Number(steps.value)), this.frozen),
    });
    const frozen = el("input", {
      type: "checkbox",
      checked: reply.freeze_biases,
      "data-keep": "frozen",
      onchange: () => this.choose(this.steps, frozen.checked),
    });
    const { live } = this.app.transport;
    return el(
      "div.choose",
      {},
      this.app.panel.scope(),
      live ? el("div.field", {}, el("label", { for: id }, words.worked_steps), steps) : null,
      reply.biases ? el("label.check", {}, frozen, el("span", {}, words.worked_freeze)) : null,
    );
  }

  /**
   * Ask for the example with other choices; keep those that it had if there is none.
   * @param {number} steps
   * @param {boolean} frozen
   */
  async choose(steps, frozen) {
    const before = /** @type {const} */ ([this.steps, this.frozen]);
    [this.steps, this.frozen] = [steps, frozen];
    const reply = await this.load();
    if (!reply) [this.steps, this.frozen] = before;
    if (this.open) this.build(reply ?? /** @type {WorkedExample} */ (this.reply));
  }

  /**
   * Return the buttons that lead through the passages, and the list of them.
   * @param {WorkedExample} reply
   */
  walk(reply) {
    const { words, passages } = reply;
    const button = (/** @type {string} */ keep, /** @type {string} */ name, /** @type {number} */ by) =>
      el("button", { type: "button", "data-keep": keep, onclick: () => this.go(this.at + by) }, name);
    this.back = button("back", words.back, -1);
    this.next = button("next", words.next, 1);
    this.next.classList.add("main");
    this.list = el("select", {
      "aria-label": words.worked_list,
      "data-keep": "list",
      onchange: () => this.go(Number(this.list.value)),
    });
    passages.forEach((passage, i) => {
      let group = this.list.lastElementChild;
      if (group?.label !== passage.title) {
        group = el("optgroup", { label: passage.title });
        this.list.append(group);
      }
      group.append(
        el("option", { value: String(i) }, passage.name ? `${passage.title}: ${passage.name}` : named(passage)),
      );
    });
    this.all = el(
      "button.quiet",
      { type: "button", "data-keep": "all", "aria-pressed": "false", onclick: () => this.turn(!this.whole) },
      words.worked_all,
    );
    this.place = el("span.small", { "aria-live": "polite" });
    return el("div.walk", {}, this.back, this.next, this.list, this.all, this.place);
  }

  /** @param {boolean} whole */
  turn(whole) {
    this.whole = whole;
    this.show();
  }

  /** @param {number} i */
  go(i) {
    const last = /** @type {WorkedExample} */ (this.reply).passages.length - 1;
    const within = this.content.contains(document.activeElement);
    this.at = Math.max(0, Math.min(i, last));
    this.show();
    if (within) this.heading.focus({ preventScroll: true });
  }

  show() {
    const { passages, words } = /** @type {WorkedExample} */ (this.reply);
    const passage = passages[this.at];
    this.all.setAttribute("aria-pressed", String(this.whole));
    this.back.hidden = this.next.hidden = this.list.hidden = this.whole;
    this.back.disabled = this.at === 0;
    this.next.disabled = this.at === passages.length - 1;
    this.list.value = String(this.at);
    const place = { at: String(this.at + 1), count: String(passages.length) };
    this.place.textContent = this.whole
      ? ""
      : words.worked_place.replace(/\{(\w+)\}/g, (_, k) => place[/** @type {"at"} */ (k)]);
    this.content.replaceChildren(
      ...(this.whole ? this.everything() : [this.passage(passage), ...this.matrices(passage)]),
    );
    this.content.classList.toggle("beside", !this.whole && passage.matrix >= 0);
    this.content.classList.toggle("whole", this.whole);
    const { sizes } = this.app.frame.network;
    const wide = Math.max(sizes[passage.layer], sizes[passage.layer - 1] ?? 0) > NARROW;
    this.content.classList.toggle("broad", wide);
    this.light(passage);
  }

  /** @returns {HTMLElement[]} all passages, and after each layer its matrix form */
  everything() {
    const { passages } = /** @type {WorkedExample} */ (this.reply);
    return passages.flatMap((passage, i) => {
      const node = this.passage(passage, passages[i - 1]?.title !== passage.title);
      node.addEventListener("mouseenter", () => this.light(passage));
      node.addEventListener("focusin", () => this.light(passage));
      const ends = passage.matrix >= 0 && passages[i + 1]?.matrix !== passage.matrix;
      return ends ? [node, ...this.matrices(passage)] : [node];
    });
  }

  /**
   * @param {Passage} passage
   * @param {boolean} [titled]
   * @returns {HTMLElement}
   */
  passage(passage, titled = true) {
    const { words, drawn } = /** @type {WorkedExample} */ (this.reply);
    const head = titled ? el("h3", {}, passage.title) : el("div", {});
    if (passage.symbol) head.append(" ", formula(passage.symbol));
    const first = passage === this.reply?.passages[0];
    const lines = passage.equations.map((equation, i) => this.app.panel.equation(equation, passage.tags[i]));
    return el(
      "section.passage",
      { lang: "en" },
      titled || passage.symbol ? head : null,
      passage.step ? el("p.small", { lang: this.node.lang }, words.worked_before) : null,
      first ? this.picture(drawn) : null,
      ...(first ? [el("div.given", {}, ...lines)] : lines),
      passage.target ? this.opener(passage.target, words.worked_open) : null,
    );
  }

  /** @param {{ svg: string, words: string }} drawn */
  picture(drawn) {
    if (!drawn.svg) return el("p.small", {}, drawn.words);
    const node = el("div.scroll.drawn", { tabindex: 0, role: "region", "aria-label": drawn.words.split(".")[0] });
    node.innerHTML = drawn.svg;
    return node;
  }

  /**
   * @param {Passage} passage
   * @returns {HTMLElement[]} the matrix form of its layer, if it has one
   */
  matrices(passage) {
    const { matrices, words } = /** @type {WorkedExample} */ (this.reply);
    const found = matrices[passage.matrix];
    if (!found) return [];
    const node = el(
      "div.matrices",
      { role: "group", "aria-label": words.worked_matrices },
      el("h3", {}, words.worked_matrices),
      ...found.equations.map((equation) => this.app.panel.equation(equation, "")),
      el(
        "div.buttons",
        {},
        ...found.arrays.map((name) => this.opener(name, words.worked_array.replace("{name}", name))),
      ),
    );
    return [node];
  }

  /**
   * Return a button that opens a derivation below the example.
   * @param {string} target
   * @param {string} name
   */
  opener(target, name) {
    return el("button.quiet", { type: "button", onclick: () => void this.app.open(target) }, name);
  }

  /** @param {Passage} passage */
  light(passage) {
    if (this.app.training) return; // its numbers stay in sight
    const light = passage.light.map((name) => name.replace(/^y\[(\d+)\]$/, "target $1"));
    this.app.drawing.showStep({ phase: passage.phase, layer: passage.layer, light });
    this.app.drawing.bring(light);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "Escape" && !this.app.panel.target) this.close();
    const target = /** @type {HTMLElement} */ (event.target);
    if (this.whole || target.matches("input, select, [tabindex='0']")) return; // they scroll or choose
    if (event.key === "ArrowRight") this.go(this.at + 1);
    else if (event.key === "ArrowLeft") this.go(this.at - 1);
  }
}

/** @param {Passage} passage */
function named(passage) {
  return passage.phase === "update" && passage.layer ? `${passage.title}: layer ${passage.layer}` : passage.title;
}
