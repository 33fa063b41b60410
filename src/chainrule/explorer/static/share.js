/** Sharing: a link, the page, Python code, and the drawing as a picture. */

import { download, el } from "./dom.js";

export class ShareDialog {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.body = el("div.body", {});
    this.node = el("dialog.share", { "aria-label": "Share" }, this.body);
    this.node.addEventListener("click", (/** @type {Event} */ event) => {
      if (event.target === this.node) this.node.close();
    });
  }

  async open() {
    const reply = this.app.transport.live ? await this.app.ask({ kind: "share" }) : null;
    const shown = /** @type {Node[]} */ ([this.top("Share")]);
    if (reply?.state && this.app.isPage) {
      const link = `${location.href.split("#")[0]}#s=${reply.state}`;
      history.replaceState(null, "", link);
      shown.push(
        el("h3", {}, "A link to this state"),
        el("p.small", {}, this.app.transport.linkWords),
        this.text(link, "Link"),
      );
    } else if (reply && !reply.state) shown.push(el("p.small", {}, `There is no link to this state. ${reply.why_not}`));
    if (this.app.transport.save) shown.push(...this.saving());
    if (reply) shown.push(el("h3", {}, "Python code for this network"), this.text(reply.python, "Python"));
    shown.push(
      el("h3", {}, "The drawing"),
      el(
        "div.buttons",
        {},
        el(
          "button",
          {
            type: "button",
            onclick: () => download(new Blob([this.picture()], { type: "image/svg+xml" }), "network.svg"),
          },
          "SVG",
        ),
        el("button", { type: "button", onclick: () => void this.png() }, "PNG"),
      ),
    );
    const { notices } = this.app.transport;
    if (notices)
      shown.push(
        el(
          "p.small",
          {},
          "The page holds Python and other free software. ",
          el("button.quiet", { type: "button", onclick: () => this.showText("Licences", notices) }, "Licences"),
        ),
      );
    this.body.replaceChildren(...shown);
    this.node.showModal();
  }

  /** The part that saves the page, with the network and data that it has now. */
  saving() {
    const save = el("button", { type: "button" }, "Save this page");
    save.onclick = async () => {
      save.disabled = true;
      await this.app.transport.save().catch((/** @type {Error} */ error) => this.app.tell(error.message));
      save.disabled = false;
    };
    return [
      el("h3", {}, "The page"),
      el("p.small", {}, "One HTML file with this network, its data and settings, for everybody with a browser."),
      el("div.buttons", {}, save),
    ];
  }

  /** @param {string} title */
  top(title) {
    return el(
      "div.top",
      {},
      el("h2", {}, title),
      el("button.icon.close", { type: "button", "aria-label": "Close", onclick: () => this.node.close() }, "✕"),
    );
  }

  /**
   * @param {string} text
   * @param {string} name
   */
  text(text, name) {
    const box = el("textarea", {
      readonly: true,
      rows: Math.min(text.split("\n").length + 1, 12),
      "aria-label": name,
      value: text,
    });
    const button = el(
      "button",
      {
        type: "button",
        onclick: async () => {
          try {
            await navigator.clipboard.writeText(text);
            button.textContent = "Copied";
          } catch {
            box.select();
          }
        },
      },
      "Copy",
    );
    return el("div.copy", {}, box, button);
  }

  /**
   * @param {string} title
   * @param {string} text
   */
  showText(title, text) {
    this.body.replaceChildren(this.top(title), this.text(text, title));
    this.node.showModal();
  }

  /** Return the drawing as SVG that needs no style sheet. */
  picture() {
    const source = this.app.drawing.canvas;
    const copy = source.cloneNode(true);
    const names = [
      "fill",
      "stroke",
      "stroke-width",
      "stroke-dasharray",
      "opacity",
      "font-size",
      "font-family",
      "font-weight",
      "font-style",
      "text-anchor",
    ];
    const from = source.querySelectorAll("*");
    copy.querySelectorAll("*").forEach((/** @type {SVGElement} */ node, /** @type {number} */ i) => {
      const style = getComputedStyle(from[i]);
      for (const name of names) node.setAttribute(name, style.getPropertyValue(name));
      node.removeAttribute("style");
      node.removeAttribute("tabindex");
    });
    copy.querySelectorAll(".hit, .halo").forEach((/** @type {Element} */ node) => node.remove());
    const [width, height] = this.app.drawing.viewport.size;
    copy.removeAttribute("style");
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("viewBox", `0 0 ${width} ${height}`);
    copy.setAttribute("width", String(width));
    copy.setAttribute("height", String(height));
    return new XMLSerializer().serializeToString(copy);
  }

  async png() {
    const [width, height] = this.app.drawing.viewport.size;
    const image = new Image();
    const address = URL.createObjectURL(new Blob([this.picture()], { type: "image/svg+xml" }));
    image.src = address;
    await image.decode();
    const canvas = el("canvas", { width: width * 2, height: height * 2 });
    const context = canvas.getContext("2d");
    context.fillStyle = getComputedStyle(this.app.app).getPropertyValue("--card");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    URL.revokeObjectURL(address);
    canvas.toBlob((/** @type {Blob | null} */ blob) => blob && download(blob, "network.png"));
  }
}
