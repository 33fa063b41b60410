/** Numbers as text, by the rule of chainrule.equations.numbers, so that they read as in Python. */

/** @typedef {import("./types").Value} Value */

const WHOLE = 1e15; // integers up to here are written out

/**
 * Write a number with significant digits, with the signs of a page.
 * @param {Value} value
 * @param {number} digits
 */
export function number(value, digits) {
  return signs(format(value, digits));
}

/**
 * Write a number in five characters, with the digits that fit; a power of ten as short as it can be.
 * @param {Value} value
 */
export function brief(value) {
  const texts = [3, 2, 1].map((digits) => number(value, digits));
  const fitting = texts.find((text) => text.length <= 5 && !text.includes("e"));
  return fitting ?? signs(scientific(value, 0).replace(/e\+?(-?)0?/, "e$1"));
}

/**
 * Write a number with significant digits, as Python's format_number does.
 * @param {Value} value
 * @param {number} digits
 */
export function format(value, digits) {
  if (typeof value !== "number") return value;
  if (Number.isInteger(value) && Math.abs(value) < WHOLE) return String(value);
  return sign(value) + general(...rounded(Math.abs(value), digits), digits);
}

/**
 * Write a number with the fewest digits that read back as it, as Python's repr does.
 * @param {Value} value
 */
export function exact(value) {
  if (typeof value !== "number") return value;
  const text = sign(value) + general(...taken(Math.abs(value).toExponential()), 16);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

/**
 * Write a number for an input box: with all digits, or some.
 * @param {Value} value
 * @param {number} [digits]
 */
export function typed(value, digits) {
  return digits ? format(value, digits) : exact(value).replace(/\.0$/, "");
}

/**
 * Write a number with a power of ten, as Python's f"{value:.1e}" does.
 * @param {Value} value
 * @param {number} places
 */
export function scientific(value, places) {
  if (typeof value !== "number") return value;
  const [figures, power] = rounded(Math.abs(value), places + 1);
  return sign(value) + withPower(figures, power);
}

/**
 * Write a share, as Python's f"{share:.1%}" does.
 * @param {number} share
 */
export function percent(share) {
  const size = share * 100;
  const [whole, tenths] = size.toFixed(100).split(".");
  const low = `${whole}.${tenths[0]}`;
  return `${isTie(tenths.slice(1)) && isEven(low) ? low : size.toFixed(1)}%`;
}

/**
 * Write a count, as Python's f"{count:,}" does.
 * @param {number} count
 */
export function counted(count) {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/**
 * Write a count with its noun: "1 unit", "2 units".
 * @param {number} count
 * @param {string} noun
 */
export function plural(count, noun) {
  return `${counted(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * Return a number to draw with: 0 for what is not finite.
 * @param {Value | null | undefined} value
 */
export function drawn(value) {
  return typeof value === "number" ? value : 0;
}

// --- digits ----------------------------------------------------------------------------------------

/**
 * Round to significant digits, a tie to the even neighbour; toExponential would take the larger.
 * @param {number} size
 * @param {number} digits
 * @returns {[string, number]} the digits, and the power of ten of the first
 */
function rounded(size, digits) {
  if (size.toExponential(digits).includes("5e")) {
    const [all, power] = taken(size.toExponential(100));
    const low = all.slice(0, digits);
    if (isTie(all.slice(digits)) && isEven(low)) return [low, power];
  }
  return taken(size.toExponential(digits - 1));
}

/** @param {string} rest */
function isTie(rest) {
  return /^50*$/.test(rest);
}

/** @param {string} figures */
function isEven(figures) {
  return Number(figures.at(-1)) % 2 === 0;
}

/**
 * @param {string} text as toExponential writes it
 * @returns {[string, number]}
 */
function taken(text) {
  const [mantissa, power] = text.split("e");
  return [mantissa.replace(".", ""), Number(power)];
}

/**
 * Write digits without a power of ten if the power is from -4 to below a limit.
 * @param {string} figures
 * @param {number} power
 * @param {number} limit
 */
function general(figures, power, limit) {
  const short = figures.replace(/0+$/, "") || "0";
  if (power < -4 || power >= limit) return withPower(short, power);
  if (power < 0) return `0.${"0".repeat(-power - 1)}${short}`;
  const rest = short.slice(power + 1);
  return short.slice(0, power + 1).padEnd(power + 1, "0") + (rest ? `.${rest}` : "");
}

/**
 * @param {string} figures
 * @param {number} power
 */
function withPower(figures, power) {
  const rest = figures.slice(1);
  return `${figures[0]}${rest ? `.${rest}` : ""}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

/** @param {number} value */
function sign(value) {
  return value < 0 || Object.is(value, -0) ? "-" : "";
}

/** @param {string} text */
function signs(text) {
  return text.replace("inf", "∞").replace(/-/g, "−");
}
