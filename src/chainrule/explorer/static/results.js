/** Pictures of training: the loss curve, and the predictions of the network. */

import { drawContour } from "./contour.js";
import { el, rgb, svg } from "./dom.js";
import { counted, drawn, number, percent, plural } from "./numbers.js";

/** @typedef {import("./types").Frame} Frame */
/** @typedef {import("./types").Results} Found */

const SIDE = 240;

export class Results {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    /** @type {Found | null} */
    this.found = null;
    this.version = -1;
    this.picture = el("div.picture", {});
    this.curve = el("div.curve", {});
    this.node = el(
      "div.results",
      {},
      el("section.card", { "aria-label": "Predictions" }, (this.heading = el("h2", {}, "Predictions")), this.picture),
      el("section.card", { "aria-label": "Loss" }, el("h2", {}, "Loss"), this.curve),
    );
  }

  /** @param {Frame} frame */
  update(frame) {
    this.drawCurve(frame);
    if (frame.results) this.take(frame.results, frame);
  }

  async refresh() {
    const frame = this.app.frame;
    if (!frame || this.app.training) return;
    const points = this.version !== frame.data.version || frame.data.kind === "confusion";
    const reply = await this.app.ask({ kind: "results", points });
    if (!reply) return;
    this.version = frame.data.version;
    if (points) this.found = null;
    this.take(reply, frame);
  }

  /**
   * @param {Found} found
   * @param {Frame} frame
   */
  take(found, frame) {
    if (this.found && found.type === this.found.type) {
      if (!found.points.length) found.points = this.found.points;
      if (!found.validation.length) found.validation = this.found.validation;
      if (!found.images.length && JSON.stringify(found.samples) === JSON.stringify(this.found.samples))
        found.images = this.found.images;
    }
    this.found = found;
    this.node.classList.toggle("wide", found.type === "confusion");
    if (found.type === "surface") this.drawSurface(found, frame);
    else if (found.type === "fit") this.drawFit(found, frame);
    else if (found.type === "confusion") this.drawConfusion(found, frame);
    else
      this.picture.replaceChildren(
        el(
          "p.small",
          {},
          "There is no picture for this network. With two inputs and one output it is a decision surface, with one output predicted against true values, and with classes a confusion matrix.",
        ),
      );
  }

  // --- decision surface --------------------------------------------------------------------------

  /**
   * @param {Found} found
   * @param {Frame} frame
   */
  drawSurface(found, frame) {
    const ratio = 2;
    let canvas = this.picture.querySelector("canvas.surface");
    if (!canvas) {
      canvas = el("canvas.surface", { width: SIDE * ratio, height: SIDE * ratio, role: "img" });
      canvas.addEventListener("click", (/** @type {MouseEvent} */ event) => this.pick(event));
      this.picture.replaceChildren(canvas, el("p.small.legend", {}));
    }
    const context = canvas.getContext("2d");
    const [low, middle, high] = found.levels;
    const [positive, negative, paper] = ["--positive-rgb", "--negative-rgb", "--card-rgb"].map((name) =>
      rgb(this.node, name),
    );
    const n = found.grid.length;
    const cells = el("canvas", { width: n, height: n });
    const small = cells.getContext("2d");
    const pixels = small.createImageData(n, n);
    found.grid.flat().forEach((v, i) => {
      const up = drawn(v) >= middle;
      const share =
        Math.min(Math.abs(drawn(v) - middle) / Math.max(up ? high - middle : middle - low, 1e-12), 1) * 0.75;
      const colour = up ? positive : negative;
      for (let c = 0; c < 3; c += 1) pixels.data[4 * i + c] = paper[c] + share * (colour[c] - paper[c]);
      pixels.data[4 * i + 3] = 255;
    });
    small.putImageData(pixels, 0, 0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(cells, 0, 0, canvas.width, canvas.height);
    context.strokeStyle = getComputedStyle(this.node).getPropertyValue("--ink");
    drawContour(context, found.grid, middle, canvas.width / n);
    const [x0, x1, y0, y1] = found.box;
    const place = (/** @type {import("./types").Row} */ p) => [
      ((Number(p[0]) - x0) / (x1 - x0)) * canvas.width,
      ((y1 - Number(p[1])) / (y1 - y0)) * canvas.height,
    ];
    const [ink, card] = ["--ink", "--card"].map((name) => getComputedStyle(this.node).getPropertyValue(name));
    for (const [points, size] of /** @type {[import("./types").Row[], number][]} */ ([
      [found.validation, 3.4],
      [found.points, 5],
    ])) {
      for (const p of points) {
        const [x, y] = place(p);
        const up = Number(p[2]) >= middle;
        const colour = up ? positive : negative;
        context.beginPath();
        if (up) context.arc(x, y, size, 0, 2 * Math.PI);
        else context.rect(x - size * 0.9, y - size * 0.9, size * 1.8, size * 1.8);
        context.fillStyle = `rgb(${colour.join(",")})`;
        context.fill();
        context.lineWidth = 1.3;
        context.strokeStyle = card;
        context.stroke();
      }
    }
    const [x, y] = place([frame.sample.x[0], frame.sample.x[1]]);
    context.beginPath();
    context.arc(x, y, 11, 0, 2 * Math.PI);
    context.lineWidth = 3;
    context.strokeStyle = ink;
    context.stroke();
    const right =
      found.accuracy === null
        ? ""
        : ` ${percent(found.accuracy)} of the ${frame.data.validation ? "validation " : ""}samples are classified correctly.`;
    canvas.setAttribute("aria-label", `Decision surface over the two inputs.${right} The current sample is marked.`);
    const { labels, validation } = frame.data;
    const sides =
      found.accuracy === null
        ? [`above ${number(middle, 3)}`, `below ${number(middle, 3)}`]
        : [labels[1] ?? "class 1", labels[0] ?? "class 0"];
    this.picture.querySelector("p").textContent =
      `● ${sides[0]}, ■ ${sides[1]}${validation ? "; small ones are for validation" : ""}. The colour behind them is the prediction.${this.app.transport.live ? " Click a sample to choose it." : ""}`;
  }

  /** @param {MouseEvent} event */
  pick(event) {
    const found = this.found;
    if (!found || !this.app.transport.live) return;
    const box = /** @type {Element} */ (event.target).getBoundingClientRect();
    const [x0, x1, y0, y1] = found.box;
    const at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    let [best, index] = [Infinity, 0];
    found.points.forEach((p, i) => {
      const far = Math.hypot((Number(p[0]) - x0) / (x1 - x0) - at[0], (y1 - Number(p[1])) / (y1 - y0) - at[1]);
      if (far < best) [best, index] = [far, i];
    });
    void this.app.change({ kind: "select", sample: index });
  }

  // --- predicted against true --------------------------------------------------------------------

  /**
   * @param {Found} found
   * @param {Frame} frame
   */
  drawFit(found, frame) {
    const values = found.points.flat().map(Number);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const place = (/** @type {number} */ v) => 16 + ((v - low) / Math.max(high - low, 1e-12)) * (SIDE - 32);
    const plot = svg(
      "svg.plot",
      {
        viewBox: `0 0 ${SIDE} ${SIDE}`,
        role: "img",
        "aria-label": "Predicted against true values; on the line they agree",
      },
      svg("line.diagonal", { x1: 16, y1: SIDE - 16, x2: SIDE - 16, y2: 16 }),
      ...found.points.map(([t, p]) =>
        svg("circle.point", { cx: place(Number(t)), cy: SIDE - place(Number(p)), r: 2.5 }),
      ),
      svg("text.axis", { x: SIDE / 2, y: SIDE - 2 }, "true"),
      svg("text.axis", { x: 10, y: SIDE / 2, transform: `rotate(-90 10 ${SIDE / 2})` }, "predicted"),
    );
    this.picture.replaceChildren(
      plot,
      el("p.small", {}, `${plural(found.points.length, "sample")}. On the line, the prediction is right.`),
    );
  }

  // --- confusion and images ----------------------------------------------------------------------

  /**
   * @param {Found} found
   * @param {Frame} frame
   */
  drawConfusion(found, frame) {
    const names = found.matrix.map((_, i) => frame.data.labels[i] ?? String(i));
    const most = Math.max(...found.matrix.flat(), 1);
    const table = el(
      "table.confusion",
      {},
      el("caption", {}, "Rows: true class. Columns: predicted class."),
      el("thead", {}, el("tr", {}, el("td", {}), ...names.map((name) => el("th", { scope: "col" }, name)))),
      el(
        "tbody",
        {},
        ...found.matrix.map((row, i) =>
          el(
            "tr",
            {},
            el("th", { scope: "row" }, names[i]),
            ...row.map((count, j) => {
              const cell = el(`td.${i === j ? "right" : "wrong"}`, {}, count ? String(count) : "·");
              cell.style.setProperty("--much", `${Math.round((80 * count) / most)}%`);
              return cell;
            }),
          ),
        ),
      ),
    );
    const nodes = /** @type {Node[]} */ ([
      el("div.scroll", { tabindex: 0, role: "region", "aria-label": "Confusion matrix" }, table),
    ]);
    if (found.images.length) {
      nodes.push(
        el(
          "div.images",
          { role: "group", "aria-label": "Samples, the wrong ones first" },
          ...found.samples.map(([index, t, p], i) => {
            const button = el(
              `button.image${t === p ? "" : ".wrong"}`,
              {
                type: "button",
                "aria-label": `Sample ${index + frame.settings.first_index}: true class ${names[t]}, predicted ${names[p]}`,
                onclick: () => void this.app.change({ kind: "select", sample: index }),
              },
              thumbnail(found.images[i], frame.sample.width, this.node),
              el("span", {}, t === p ? names[t] : `${names[t]}→${names[p]}`),
            );
            if (index === frame.sample.index) button.setAttribute("aria-current", "true");
            return button;
          }),
        ),
      );
    }
    this.picture.replaceChildren(...nodes);
  }

  // --- loss curve --------------------------------------------------------------------------------

  /** @param {Frame} frame */
  drawCurve(frame) {
    const points = frame.training.curve.filter((p) => isDrawn(p[1]));
    const [width, height] = [360, SIDE];
    if (points.length < 2) {
      this.curve.replaceChildren(el("p.small", {}, "Train the network to see its loss over the steps here."));
      return;
    }
    const [left, bottom, top] = [46, height - 26, 12];
    const last = Number(points[points.length - 1][0]);
    const losses = points
      .flatMap((p) => [p[1], p[2]])
      .filter(isDrawn)
      .map(Number);
    const [low, high] = [Math.min(0, ...losses), Math.max(...losses, 1e-12)];
    const first = Number(points[0][0]);
    const px = (/** @type {number} */ s) => left + ((s - first) / Math.max(last - first, 1)) * (width - left - 10);
    const py = (/** @type {number} */ v) => bottom - ((v - low) / (high - low)) * (bottom - top);
    const line = (/** @type {number} */ column) =>
      points
        .filter((p) => isDrawn(p[column]))
        .map((p, i) => `${i ? "L" : "M"}${tenth(px(Number(p[0])))},${tenth(py(Number(p[column])))}`)
        .join("");
    const at = frame.training.step;
    const has = points.some((p) => isDrawn(p[2]));
    const plot = svg(
      "svg.plot",
      {
        viewBox: `0 0 ${width} ${height}`,
        role: "img",
        "aria-label": `Loss over the steps: ${number(frame.training.loss, 4)} at step ${at}`,
      },
      ...[0, 0.5, 1].flatMap((t) => {
        const v = low + t * (high - low);
        return [
          svg("line.rule", { x1: left, x2: width - 10, y1: py(v), y2: py(v) }),
          svg("text.tick", { x: left - 6, y: py(v) + 4, "text-anchor": "end" }, number(v, 2)),
        ];
      }),
      has ? svg("path.validation", { d: line(2) }) : null,
      svg("path.training", { d: line(1) }),
      svg("circle.now", { cx: px(at), cy: py(Math.min(drawn(frame.training.loss), high)), r: 4.5 }),
      svg("text.tick", { x: left, y: height - 6 }, counted(first)),
      svg("text.tick", { x: width - 10, y: height - 6, "text-anchor": "end" }, `step ${counted(last)}`),
    );
    this.curve.replaceChildren(
      plot,
      el(
        "p.small.legend",
        {},
        el("span.swatch.training", {}),
        "training",
        ...(has ? [el("span.swatch.validation", {}), "validation"] : []),
      ),
    );
  }
}

/** @param {import("./types").Value | null} value */
function isDrawn(value) {
  return typeof value === "number";
}

/** @param {number} length */
function tenth(length) {
  return Math.round(10 * length) / 10;
}

/**
 * @param {import("./types").Row} pixels
 * @param {number} width
 * @param {Element} node
 */
function thumbnail(pixels, width, node) {
  const height = Math.ceil(pixels.length / width);
  const canvas = el("canvas", { width, height, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const [ink, paper] = ["--ink-rgb", "--card-rgb"].map((name) => rgb(node, name));
  const top = Math.max(...pixels.map((v) => Math.abs(drawn(v))), 1e-12);
  pixels.forEach((v, i) => {
    const share = Math.abs(drawn(v)) / top;
    for (let c = 0; c < 3; c += 1) image.data[4 * i + c] = paper[c] + share * (ink[c] - paper[c]);
    image.data[4 * i + 3] = 255;
  });
  context.putImageData(image, 0, 0);
  return canvas;
}
