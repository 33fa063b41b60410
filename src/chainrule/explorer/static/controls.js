/** The cards with settings: data, network, training. */

import { el, field, options, svg, unique } from "./dom.js";
import { group } from "./memory.js";
import { counted, plural, typed } from "./numbers.js";
import { Supply } from "./supply.js";

/** @typedef {import("./types").Frame} Frame */

export class DataCard {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.buttons = el("div.datasets", { role: "group", "aria-label": "Data sets" });
    this.names = "";
    const file = el("input.file", {
      type: "file",
      accept: ".csv,.tsv,.txt,text/csv",
      "aria-label": "CSV file",
      onchange: () => void this.upload(file),
    });
    this.about = el("p.small", {});
    this.noise = el("input", {
      type: "range",
      min: 0,
      max: 0.5,
      step: 0.05,
      value: "0.1",
      onchange: () => this.draw(0),
    });
    this.drawn = el(
      "div.drawn",
      {},
      field("Noise", this.noise),
      el("button.quiet", { type: "button", onclick: () => this.draw(1) }, "New samples"),
    );
    const id = unique("file");
    file.id = id;
    this.supply = new Supply(app);
    const { node, now } = group(
      "Data",
      "Data",
      this.buttons,
      this.about,
      this.drawn,
      ...this.supply.nodes,
      el("label.upload", { for: id }, "Your CSV file …", file),
    );
    this.node = node;
    this.now = now;
  }

  /** @param {Frame} frame */
  update(frame) {
    this.supply.update(frame);
    const names = frame.choices.datasets.join();
    if (names !== this.names) {
      this.names = names;
      this.buttons.replaceChildren(
        ...frame.choices.datasets.map((name) =>
          el(
            "button.dataset",
            { type: "button", "data-name": name, onclick: () => void this.app.change({ kind: "data", name }) },
            icon(name),
            el("span", {}, name),
          ),
        ),
      );
    }
    for (const button of this.buttons.children)
      button.setAttribute("aria-pressed", String(button.dataset.name === frame.data.name));
    const { train, validation, name, scaled } = frame.data;
    this.drawn.hidden = !frame.choices.datasets.includes(name) || name === "xor table" || name === "digits";
    this.noise.value = typed(frame.data.noise);
    this.now.textContent = name;
    this.about.textContent = `${name}: ${plural(train, "sample")} for training${validation ? `, ${counted(validation)} for validation` : ""}${scaled ? "; each input is scaled to mean 0 and standard deviation 1" : ""}`;
  }

  /**
   * Draw the samples again, with the noise that is set.
   * @param {number} more how many seeds to go on
   */
  draw(more) {
    const { name, seed } = this.app.frame.data;
    void this.app.change({ kind: "data", name, noise: Number(this.noise.value), seed: (seed + more) % SEEDS });
  }

  /** @param {HTMLInputElement} file */
  async upload(file) {
    const chosen = file.files?.[0];
    if (!chosen) return;
    const { file: most, name: longest } = this.app.frame.limits;
    if (chosen.size > most)
      this.app.tell(`The file has ${counted(chosen.size)} bytes; expected at most ${counted(most)}`);
    else await this.app.change({ kind: "upload", text: await chosen.text(), name: chosen.name.slice(0, longest) });
    file.value = "";
  }
}

/** Small pictures of the data sets: (x, y, class). @type {Record<string, [number, number, number][]>} */
const PICTURES = {
  circles: [
    [16, 5, 0],
    [24, 8, 0],
    [27, 16, 0],
    [24, 24, 0],
    [16, 27, 0],
    [8, 24, 0],
    [5, 16, 0],
    [8, 8, 0],
    [16, 13, 1],
    [19, 16, 1],
    [16, 19, 1],
    [13, 16, 1],
  ],
  xor: [
    [8, 8, 1],
    [12, 6, 1],
    [6, 12, 1],
    [24, 24, 1],
    [20, 26, 1],
    [26, 20, 1],
    [24, 8, 0],
    [20, 6, 0],
    [26, 12, 0],
    [8, 24, 0],
    [6, 20, 0],
    [12, 26, 0],
  ],
  gaussians: [
    [9, 22, 0],
    [12, 24, 0],
    [7, 25, 0],
    [11, 20, 0],
    [13, 27, 0],
    [22, 9, 1],
    [25, 7, 1],
    [20, 11, 1],
    [24, 12, 1],
    [19, 7, 1],
  ],
  spiral: [
    [16, 14, 1],
    [20, 13, 1],
    [23, 17, 1],
    [21, 22, 1],
    [15, 25, 1],
    [8, 22, 1],
    [16, 18, 0],
    [12, 19, 0],
    [9, 15, 0],
    [11, 10, 0],
    [17, 7, 0],
    [24, 10, 0],
  ],
  moons: [
    [5, 18, 0],
    [7, 12, 0],
    [12, 8, 0],
    [17, 9, 0],
    [20, 14, 0],
    [21, 18, 0],
    [12, 15, 1],
    [13, 20, 1],
    [17, 24, 1],
    [22, 24, 1],
    [26, 20, 1],
    [27, 14, 1],
  ],
  "xor table": [
    [9, 9, 1],
    [23, 23, 1],
    [23, 9, 0],
    [9, 23, 0],
  ],
  plane: [
    [7, 25, 0],
    [12, 20, 0],
    [9, 15, 0],
    [16, 16, 1],
    [21, 18, 1],
    [19, 11, 1],
    [25, 7, 1],
  ],
  digits: [
    [16, 6, 1],
    [11, 8, 1],
    [21, 8, 1],
    [10, 13, 1],
    [22, 13, 1],
    [10, 19, 1],
    [22, 19, 1],
    [11, 24, 1],
    [21, 24, 1],
    [16, 26, 1],
  ],
};

/** @param {string} name */
function icon(name) {
  const points = PICTURES[name] ?? [];
  return svg(
    "svg",
    { viewBox: "0 0 32 32", "aria-hidden": "true" },
    ...points.map(([x, y, side]) =>
      side
        ? svg("circle.one", { cx: x, cy: y, r: 2 })
        : svg("rect.zero", { x: x - 1.8, y: y - 1.8, width: 3.6, height: 3.6 }),
    ),
  );
}

const SEEDS = 2 ** 32; // more than anybody clicks through

export class NetworkCard {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.layers = el("ol.layers", {});
    this.output = el("select", { onchange: () => this.build({ output: this.output.value }) });
    this.loss = el("select", { onchange: () => this.build({ loss: this.loss.value }) });
    this.l2 = el("input", {
      type: "number",
      min: 0,
      step: "any",
      onchange: () => this.build({ l2: Number(this.l2.value) }),
    });
    this.about = el("p.small", {});
    this.inputs = el("p.small", {});
    this.units = el("input", {
      type: "number",
      min: 1,
      onchange: () => void app.change({ kind: "outputs", units: Math.round(Number(this.units.value)) }),
    });
    this.why = el("p.small", {});
    const { node, now } = group(
      "Network",
      "Network settings",
      this.inputs,
      this.layers,
      el("button.quiet", { type: "button", onclick: () => this.add() }, "+ hidden layer"),
      field("Output units", this.units),
      this.why,
      field("Output", this.output),
      field("Loss", this.loss),
      field("L2 penalty λ", this.l2),
      el(
        "button.quiet",
        { type: "button", onclick: () => this.build({ seed: (this.app.frame.network.seed + 1) % SEEDS }) },
        "New initial weights",
      ),
      this.about,
    );
    this.node = node;
    this.now = now;
  }

  /** @param {Record<string, unknown>} fields */
  build(fields) {
    void this.app.change({ kind: "build", ...fields });
  }

  hidden() {
    return this.app.frame.network.sizes.slice(1, -1);
  }

  add() {
    this.build({ hidden_sizes: [...this.hidden(), 4] });
  }

  /** @param {Frame} frame */
  update(frame) {
    const { sizes, activations, loss, parameters, engine } = frame.network;
    const hidden = sizes.slice(1, -1);
    while (this.layers.children.length > hidden.length) this.layers.lastChild?.remove();
    while (this.layers.children.length < hidden.length) this.layers.append(this.row(this.layers.children.length));
    hidden.forEach((units, i) => {
      const row = this.layers.children[i];
      const box = row.querySelector("input");
      if (document.activeElement !== box) box.value = String(units);
      options(row.querySelector("select"), frame.choices.activations, activations[i]);
    });
    options(this.output, frame.choices.outputs, activations[activations.length - 1]);
    options(this.loss, frame.choices.losses, loss);
    if (document.activeElement !== this.l2) this.l2.value = typed(frame.network.l2);
    const { outputs, derived, why_not_derived } = frame.data;
    this.inputs.textContent = inputsOf(sizes[0], derived.length, why_not_derived);
    this.units.disabled = outputs.least === outputs.most;
    this.units.min = typed(outputs.least);
    this.units.max = typed(outputs.most);
    if (document.activeElement !== this.units) this.units.value = typed(sizes[sizes.length - 1]);
    this.why.hidden = !outputs.why;
    this.why.textContent = outputs.why;
    this.now.textContent = sizes.join("-");
    this.about.textContent = `${sizes.join("-")}, ${plural(parameters, "parameter")}, ${engine} engine`;
    if (this.app.transport.engineNote) this.about.append(`. ${this.app.transport.engineNote}`);
  }

  /** @param {number} i */
  row(i) {
    const box = el("input", {
      type: "number",
      min: 1,
      max: this.app.frame.limits.units,
      "aria-label": `Units of layer ${i + 1}`,
      onchange: () => {
        const sizes = this.hidden();
        sizes[i] = Math.round(Number(box.value));
        this.build({ hidden_sizes: sizes });
      },
    });
    const select = el("select", {
      "aria-label": `Activation of layer ${i + 1}`,
      onchange: () => {
        const names = this.app.frame.network.activations.slice(0, -1);
        names[i] = select.value;
        this.build({ hidden: names });
      },
    });
    const remove = el(
      "button.icon",
      {
        type: "button",
        "aria-label": `Remove layer ${i + 1}`,
        onclick: () => {
          const names = this.app.frame.network.activations.slice(0, -1);
          this.build({
            hidden_sizes: this.hidden().filter((/** @type {number} */ _, /** @type {number} */ at) => at !== i),
            hidden: names.filter((/** @type {string} */ _, /** @type {number} */ at) => at !== i),
          });
        },
      },
      "−",
    );
    return el("li", {}, el("span.label", {}, `Layer ${i + 1}`), box, select, remove);
  }
}

/**
 * Say how many inputs there are, and how to have others.
 * @param {number} units
 * @param {number} derived
 * @param {string} why why no input can be derived
 */
function inputsOf(units, derived, why) {
  const some = derived ? `, ${derived} of them derived` : "";
  return `${plural(units, "input")}${some}. ${why || "Data has switches for more."}`;
}

const RATES = ["0.0001", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1", "3", "10"];

export class TrainingCard {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    const change = (/** @type {Record<string, unknown>} */ fields) => void app.change({ kind: "configure", ...fields });
    this.rates = el("datalist", { id: unique("rates") }, ...RATES.map((value) => el("option", { value })));
    this.rate = el("input", {
      type: "number",
      min: 0,
      step: "any",
      list: this.rates.id,
      onchange: () => change({ learning_rate: Number(this.rate.value) }),
    });
    this.rule = el("select", { onchange: () => change({ optimizer: this.rule.value }) });
    this.batch = el("input", {
      type: "number",
      min: 1,
      onchange: () => change({ batch_size: Math.round(Number(this.batch.value)) }),
    });
    const { node, now } = group(
      "Training",
      "Training settings",
      this.rates,
      field("Learning rate η", this.rate),
      field("Optimiser", this.rule),
      field("Samples in a batch", this.batch),
    );
    this.node = node;
    this.now = now;
  }

  /** @param {Frame} frame */
  update(frame) {
    const { learning_rate, optimizer, batch_size } = frame.settings;
    if (document.activeElement !== this.rate) this.rate.value = typed(learning_rate);
    if (document.activeElement !== this.batch) this.batch.value = String(batch_size);
    options(this.rule, frame.choices.optimizers, optimizer);
    this.now.textContent = `η = ${typed(learning_rate)}`;
  }
}
