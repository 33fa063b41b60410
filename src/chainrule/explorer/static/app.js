/** The explorer: one frame of numbers from Python, and the parts of the page that show it. */

import { DataCard, NetworkCard, TrainingCard } from "./controls.js";
import { el } from "./dom.js";
import { Drawing } from "./drawing.js";
import { HealthCard } from "./health.js";
import { Lessons } from "./lessons.js";
import { store, stored } from "./memory.js";
import { Panel } from "./panel.js";
import { Player } from "./player.js";
import { Practice } from "./practice.js";
import { Results } from "./results.js";
import { SampleCard } from "./sample.js";
import { ShareDialog } from "./share.js";
import { TrainBar } from "./training.js";
import { UnitsCard } from "./units.js";
import { Worked } from "./worked.js";
import { WritingCard } from "./writing.js";

/** @typedef {import("./types").Frame} Frame */

export class App {
  /** @type {any} */ undo;
  /** @type {any} */ redo;
  /** @type {any} */ app;
  /** @type {any} */ main;
  /** @type {any} */ drawing;
  /** @type {any} */ player;
  /** @type {any} */ trainBar;
  /** @type {any} */ results;
  /** @type {any} */ units;
  /** @type {any} */ panel;
  /** @type {any} */ health;
  /** @type {any} */ lessons;
  /** @type {any} */ practice;
  /** @type {any} */ share;
  /** @type {any} */ worked;
  /** @type {any} */ say;
  /** @type {any[]} */ cards = [];

  /**
   * @param {HTMLElement} root
   * @param {import("./types").Transport} transport
   * @param {{ page?: boolean }} [settings] page: the explorer has the whole window, with its address
   */
  constructor(root, transport, settings = {}) {
    this.root = root;
    this.transport = transport;
    this.isPage = settings.page ?? false;
    /** @type {Frame | null} */
    this.frame = null;
    this.training = false;
    this.pending = 0;
    this.build();
  }

  build() {
    const live = this.transport.live;
    this.drawing = new Drawing({
      open: (target) => void this.open(target),
      showUnit: (layer, unit) =>
        void this.change({ kind: "show", layer, unit }).then(() =>
          this.open(layer ? `a[${layer}][${unit}]` : `x[${unit}]`),
        ),
    });
    this.player = new Player(this);
    this.trainBar = new TrainBar(this);
    this.results = new Results(this);
    this.units = new UnitsCard(this);
    this.panel = new Panel(this);
    this.health = new HealthCard(this);
    this.lessons = new Lessons(this);
    this.practice = new Practice(this);
    this.worked = new Worked(this);
    this.share = new ShareDialog(this);
    this.cards = live
      ? [DataCard, NetworkCard, TrainingCard, SampleCard, WritingCard].map((Card) => new Card(this))
      : [new SampleCard(this)];
    this.say = el("div.toast", { role: "status", "aria-live": "polite" });
    const aside = [this.lessons, this.practice, this.worked, this.panel, this.health];
    this.aside = el("div.aside", {}, ...aside.map((part) => part.node));
    this.app = el(
      "div.cr-app",
      { "data-theme": stored("theme") ?? "auto" },
      this.header(),
      (this.main = el(
        "main.grid",
        {},
        el(
          "section.stage",
          { "aria-label": "Network" },
          this.trainBar.node,
          el("div.card.canvas", {}, this.drawing.node, this.player.node),
          this.results.node,
          this.units.node,
        ),
        el(`section.detail${this.isPage ? ".page-only" : ""}`, { "aria-label": "Explanation" }, this.aside),
        el("section.side", { "aria-label": "Settings" }, ...this.cards.map((card) => card.node)),
      )),
      this.say,
      this.share.node,
    );
    this.root.replaceChildren(this.app);
    this.app.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.shortcut(event));
  }

  header() {
    const live = this.transport.live;
    this.undo = el("button.icon", { type: "button", "aria-label": "Undo", onclick: () => this.step("undo") }, "↶");
    this.redo = el("button.icon", { type: "button", "aria-label": "Redo", onclick: () => this.step("redo") }, "↷");
    const theme = el(
      "button.icon",
      {
        type: "button",
        "aria-label": "Switch between light and dark",
        title: "Switch between light and dark",
        onclick: () => this.switchTheme(),
      },
      "◐",
    );
    const share = el(
      "button.quiet",
      { type: "button", onclick: () => void this.share.open() },
      live ? "Share" : "Picture",
    );
    const lesson = el("button.quiet", { type: "button", onclick: () => this.lessons.toggle() }, "Lessons");
    const practice = el("button.quiet", { type: "button", onclick: () => void this.practice.toggle() }, "Practise");
    return el(
      "header.bar",
      {},
      el("a.skip", { href: "#", onclick: (/** @type {Event} */ e) => this.skip(e) }, "Skip to the network"),
      el("h1.brand", {}, el("span.logo", { "aria-hidden": "true" }, "∂"), "chainrule", el("span.sub", {}, "explorer")),
      ...(live ? [el("nav.learn", { "aria-label": "Learn" }, lesson, practice)] : []),
      el("div.tools", {}, ...(live ? [this.undo, this.redo] : []), theme, share),
    );
  }

  async start() {
    this.busy(1);
    try {
      let frame = await this.transport.start();
      const state = this.isPage ? new URLSearchParams(location.hash.slice(1)).get("s") : null;
      if (state)
        frame = await this.transport.ask({ kind: "restore", state }).catch((error) => this.tell(error.message, frame));
      this.show(frame);
      await this.afterChange();
      if (this.transport.live && !state) await this.lessons.start();
    } catch (error) {
      this.tell(/** @type {Error} */ (error).message);
    } finally {
      this.busy(-1);
    }
  }

  // --- messages ----------------------------------------------------------------------------------

  /**
   * Send a request whose reply is a frame, and show it.
   * @param {Record<string, unknown>} request
   * @returns {Promise<boolean>} whether Python did it
   */
  async change(request) {
    this.busy(1);
    try {
      if (this.training) await this.trainBar.stop();
      this.show(await this.transport.ask(request));
      this.say.classList.remove("shown"); // the last error no longer holds
      await this.afterChange();
      return true;
    } catch (error) {
      this.tell(/** @type {Error} */ (error).message);
      if (this.frame) this.show(this.frame);
      return false;
    } finally {
      this.busy(-1);
    }
  }

  /**
   * Count the requests under way, and tell assistive technology.
   * @param {number} more
   */
  busy(more) {
    this.pending += more;
    this.app.setAttribute("aria-busy", String(this.pending > 0));
  }

  /** @param {Record<string, unknown>} request */
  async ask(request) {
    this.busy(1);
    try {
      return await this.transport.ask(request);
    } catch (error) {
      this.tell(/** @type {Error} */ (error).message);
      return null;
    } finally {
      this.busy(-1);
    }
  }

  /** @param {"undo" | "redo"} kind */
  step(kind) {
    void this.change({ kind });
  }

  /** Ask again for everything that depends on the numbers. */
  async afterChange() {
    await Promise.all(
      [this.player, this.panel, this.results, this.units, this.health, this.lessons, this.worked].map((part) =>
        part.refresh(),
      ),
    );
  }

  /** @param {Frame} frame */
  show(frame) {
    if (!frame.training.curve.length && this.frame) frame.training.curve = this.frame.training.curve;
    this.frame = frame;
    this.drawing.update(frame);
    this.trainBar.update(frame);
    this.player.update(frame);
    for (const card of this.cards) card.update(frame);
    this.results.update(frame);
    this.undo.disabled = !frame.undo;
    this.undo.title = frame.undo ? `Undo: ${frame.undo}` : "Nothing to undo";
    this.redo.disabled = !frame.redo;
    this.redo.title = frame.redo ? `Redo: ${frame.redo}` : "Nothing to redo";
    this.undo.hidden = this.redo.hidden = !frame.undo && !frame.redo;
  }

  /** @param {string} target */
  async open(target) {
    this.drawing.select(target);
    await this.panel.open(target);
  }

  /** Show the drawing beside the lesson or the worked example, while one is open. */
  learn() {
    const played = !this.lessons.node.hidden && Boolean(this.lessons.stop);
    this.app.classList.toggle("learning", played || this.worked.open);
    this.app.classList.toggle("working", this.worked.open);
  }

  /** Light up in the drawing what is open, if anything is. */
  lightUp() {
    this.drawing.select(this.panel.target || this.lessons.target || this.practice.target);
    if (!this.panel.target && this.lessons.stop) this.drawing.lightParts(this.lessons.stop.light);
  }

  /**
   * Show a message for some seconds.
   * @template T
   * @param {string} message
   * @param {T} [value]
   * @returns {T | undefined}
   */
  tell(message, value) {
    this.say.textContent = message.charAt(0).toUpperCase() + message.slice(1);
    this.say.classList.add("shown");
    clearTimeout(this.sayTimer);
    this.sayTimer = setTimeout(() => this.say.classList.remove("shown"), 7000);
    return value;
  }

  // --- page --------------------------------------------------------------------------------------

  /** @param {Event} event */
  skip(event) {
    event.preventDefault();
    this.drawing.canvas.querySelector("[tabindex='0']")?.focus();
  }

  switchTheme() {
    const order = ["light", "dark", "auto"];
    const now = this.app.dataset.theme;
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const next = now === "auto" ? (dark ? "light" : "dark") : order[(order.indexOf(now) + 1) % 2];
    this.app.dataset.theme = next;
    if (this.isPage) document.documentElement.dataset.theme = next;
    store("theme", next);
    if (this.frame) this.show(this.frame);
  }

  /** @param {KeyboardEvent} event */
  shortcut(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && target.tagName !== "INPUT") {
      event.preventDefault();
      this.step(event.shiftKey ? "redo" : "undo");
    }
    if (event.key === "Escape" && this.panel.target) this.panel.close();
  }
}
