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

/** @type {ResizeObserver | null} */
let observer = null; // made when it is needed: Node.js has none

/** @param {ResizeObserverEntry[]} entries */
function reach(entries) {
  for (const { target } of entries) {
    if (!target.isConnected) observer?.unobserve(target);
    else if (target.scrollWidth > target.clientWidth) target.setAttribute("tabindex", "0");
    else target.removeAttribute("tabindex");
  }
}

/**
 * Return a box of an equation which the keyboard reaches where it is too wide, to scroll it.
 * @param {...(Node | null)} children
 */
export function wide(...children) {
  return scrolled(el("div.eq", { role: "group" }, ...children));
}

/**
 * Let the keyboard reach an element where it is too narrow for what is in it, to scroll it.
 * @param {HTMLElement} node
 */
export function scrolled(node) {
  observer ??= new ResizeObserver(reach);
  observer.observe(node);
  return node;
}

const RELATIONS = ["=", "←"];
const LONG = 5; // parts of a sum or product, from which on it may be cut
const BROAD = 45; // characters

/**
 * Let a long equation break before its signs =, ← and, between matrices and in long sums, before + and −: each piece
 * becomes a formula of its own, and the line wraps between them.
 * @param {HTMLElement} node
 */
function breakable(node) {
  const math = node.firstElementChild;
  const row = math?.children.length === 1 && math.firstElementChild;
  if (!math || !row || row.localName !== "mrow") return;
  const pieces = split(row, RELATIONS, 3)
    .map(unwrapped)
    .flatMap((piece) => split(piece, ["+", "−", "⊙"], isBroad(piece) ? 3 : LONG))
    .flatMap(factors);
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
 * Return a row whose long sum in parentheses at its end, as in ∂/∂w (…), can be cut, too.
 * @param {Element} row
 */
function unwrapped(row) {
  const before = [...row.children].slice(0, -1);
  let last = only(row.lastElementChild);
  if (last?.localName === "mrow" && last.children.length === 2) {
    before.push(last.children[0]); // ∂/∂w in front of the parentheses
    last = only(last.children[1]);
  }
  const [open, middle, close] = last?.children.length === 3 ? last.children : [];
  const sum = only(middle);
  const isLong = sum?.localName === "mrow" && sum.children.length >= LONG;
  if (!isLong || open?.textContent !== "(" || close?.textContent !== ")") return row;
  const flat = /** @type {Element} */ (row.cloneNode());
  flat.append(...before, open, ...sum.children, close);
  return flat;
}

/**
 * Return whether a piece is broad already with few parts: matrices, or long products.
 * @param {Element} piece
 */
function isBroad(piece) {
  return Boolean(piece.querySelector("mtable")) || (piece.textContent ?? "").length > BROAD;
}

/**
 * Return a long product of factors in parentheses as its factors, the sign before it with the first.
 * @param {Element} piece
 * @returns {Element[]}
 */
function factors(piece) {
  const product = only(piece.lastElementChild);
  const found = product?.localName === "mrow" ? [...product.children] : [];
  if (found.length < LONG || !found.every((factor) => /^[([]/.test(factor.textContent ?? ""))) return [piece];
  const before = [...piece.children].slice(0, -1);
  return found.map((factor, i) => {
    const row = /** @type {Element} */ (piece.cloneNode());
    row.append(...(i ? [] : before), factor);
    return row;
  });
}

/**
 * Return what stands alone inside of rows.
 * @param {Element | null | undefined} node
 */
function only(node) {
  let found = node;
  while (found?.localName === "mrow" && found.children.length === 1) found = found.firstElementChild;
  return found;
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
  if (signs !== RELATIONS && inside.length === 2 && lead.length && inside[1].localName === "mrow")
    inside = [...lead, ...inside[1].children];
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
