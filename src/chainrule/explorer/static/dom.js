/** Small helpers to build elements, and to write symbols as the page writes them. */

/**
 * Make an element: el("button.main", { type: "button", onclick }, "text", child).
 * @param {string} spec tag and classes
 * @param {Record<string, any>} [props] attributes; functions and `value`, `checked` as properties
 * @param {...(Node | string | null | undefined)} children
 * @returns {any}
 */
export function el(spec, props = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  return fill(node, props, children);
}

/**
 * Make an SVG element.
 * @param {string} spec tag and classes
 * @param {Record<string, any>} [props]
 * @param {...(Node | string | null | undefined)} children
 * @returns {any}
 */
export function svg(spec, props = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  if (classes.length) node.setAttribute("class", classes.join(" "));
  return fill(node, props, children);
}

/**
 * @param {any} node
 * @param {Record<string, any>} props
 * @param {(Node | string | null | undefined)[]} children
 */
function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function" || name === "value" || name === "checked") node[name] = value;
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  for (const child of children) if (child !== null && child !== undefined) node.append(child);
  return node;
}

/**
 * Put MathML that the library wrote into an element.
 * @param {string} mathml
 * @param {string} [spec]
 * @returns {HTMLElement}
 */
export function formula(mathml, spec = "span.formula") {
  const node = el(spec);
  node.innerHTML = mathml.startsWith("<math") ? mathml : wrapped(mathml);
  breakable(node);
  return node;
}

/**
 * Let a long equation break before its signs =, ← and, in long sums, before + and −: each piece
 * becomes a formula of its own, and the line wraps between them.
 * @param {HTMLElement} node
 */
function breakable(node) {
  const math = node.firstElementChild;
  const row = math?.children.length === 1 && math.firstElementChild;
  if (!math || !row || row.localName !== "mrow") return;
  const pieces = split(row, ["=", "←"], 3).flatMap((piece) => split(piece, ["+", "−"], 6));
  if (pieces.length < 2) {
    math.replaceChildren(...pieces);
    return;
  }
  node.replaceChildren(
    ...pieces.map((piece) => {
      const part = /** @type {Element} */ (math.cloneNode());
      part.append(piece);
      return part;
    }),
  );
}

/**
 * @param {Element} row
 * @param {string[]} signs before which it may be cut
 * @param {number} least children, below which it stays whole
 * @returns {Element[]}
 */
function split(row, signs, least) {
  let inside = [...row.children];
  const lead = inside[0]?.localName === "mo" ? inside.slice(0, 1) : [];
  if (least > 3 && inside.length === 2 && lead.length && inside[1].localName === "mrow")
    inside = [...lead, ...inside[1].children];
  if (least > 3) inside = unfold(inside);
  if (inside.length < least) return [row];
  const pieces = /** @type {Element[]} */ ([]);
  for (const child of inside) {
    const cut =
      child.localName === "mo" && signs.includes(child.textContent ?? "") && child.getAttribute("form") !== "prefix";
    if (!pieces.length || (cut && pieces[pieces.length - 1].children.length))
      pieces.push(/** @type {Element} */ (row.cloneNode()));
    if (cut) child.setAttribute("form", "infix");
    pieces[pieces.length - 1].append(child);
  }
  return pieces;
}

/**
 * Return the parts of ∂/∂w (sum) with those of the sum beside them, if it ends in such.
 * @param {Element[]} inside
 * @returns {Element[]}
 */
function unfold(inside) {
  const last = inside.at(-1);
  if (!last) return inside;
  const [fraction, group] = last.localName === "mrow" ? [...last.children] : [];
  if (fraction?.localName === "mfrac" && group?.children.length === 3 && last.children.length === 2)
    return unfold([...inside.slice(0, -1), fraction, group]);
  const [start, sum, end] = last.children;
  if (inside.at(-2)?.localName !== "mfrac" || last.children.length !== 3 || sum.localName !== "mrow") return inside;
  if (start.textContent !== "(" || end.textContent !== ")") return inside;
  for (const fence of [start, end]) fence.setAttribute("stretchy", "false");
  return [...inside.slice(0, -1), start, ...sum.children, end];
}

/** @param {string} inside */
function wrapped(inside) {
  return `<math xmlns="http://www.w3.org/1998/Math/MathML" displaystyle="true">${inside}</math>`;
}

/**
 * Return a colour of the style sheet as red, green and blue.
 * @param {Element} node
 * @param {string} name
 */
export function rgb(node, name) {
  return getComputedStyle(node).getPropertyValue(name).split(" ").filter(Boolean).map(Number);
}

const BELOW = "₀₁₂₃₄₅₆₇₈₉";
const PLAIN = "0123456789L-()";
const ABOVE = "⁰¹²³⁴⁵⁶⁷⁸⁹ᴸ⁻⁽⁾";

/** @param {number | string} text */
export function below(text) {
  return String(text).replace(/\d/g, (c) => BELOW[Number(c)]);
}

/**
 * Write a quantity with the letters and places of the notation in use.
 * @param {import("./types").Frame} frame
 * @param {string} letter
 * @param {number} layer
 * @param {...number} units
 */
export function symbol(frame, letter, layer, ...units) {
  const { first_index, layers, bare } = frame.settings;
  if (bare) return letter + below(layers[layer]);
  const names = units.map((unit) => String(unit + first_index));
  const between = names.every((name) => name.length === 1) ? "" : ",";
  return letter + below(names.join(between)) + layers[layer].replace(/./g, (c) => ABOVE[PLAIN.indexOf(c)]);
}

/**
 * Save a text or a blob as a file.
 * @param {Blob} blob
 * @param {string} name
 */
export function download(blob, name) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

let ids = 0;

/**
 * Return an id that no other element has.
 * @param {string} name
 */
export function unique(name) {
  ids += 1;
  return `cr-${name}-${ids}`;
}

/**
 * Return a control with its label.
 * @param {string} label
 * @param {HTMLElement} control
 */
export function field(label, control) {
  const id = unique("field");
  control.id = id;
  return el("div.field", {}, el("label", { for: id }, label), control);
}

/**
 * Set the options of a select, and choose one.
 * @param {HTMLSelectElement} select
 * @param {string[]} names
 * @param {string} chosen
 */
export function options(select, names, chosen) {
  const have = [...select.options].map((o) => o.value);
  if (have.join("\n") !== names.join("\n")) {
    select.replaceChildren(...names.map((name) => el("option", { value: name }, name.replace(/_/g, " "))));
  }
  if (document.activeElement !== select || select.value !== chosen) select.value = chosen;
}

/** @param {number} share */
export function bar(share) {
  const inner = el("span", {});
  inner.style.width = `${Math.max(share * 100, 1)}%`;
  return inner;
}
