/** The drawing by keyboard: where an arrow key leads, and where Tab enters. */

/**
 * Return the part that a key leads to, or undefined.
 * @param {string[][]} order the parts, column by column
 * @param {string} name the part in focus
 * @param {string} key
 * @returns {string | undefined}
 */
export function neighbour(order, name, key) {
  const columns = order.filter((names) => names.length);
  const at = columns.findIndex((names) => names.includes(name));
  const column = columns[at];
  const row = column.indexOf(name);
  if (key === "ArrowDown") return column[row + 1] ?? column[0];
  if (key === "ArrowUp") return column.at(row - 1);
  if (key === "Home") return columns[0][0];
  if (key === "End") return columns[columns.length - 1][0];
  if (key !== "ArrowRight" && key !== "ArrowLeft") return undefined;
  const next = columns[at + (key === "ArrowRight" ? 1 : -1)];
  return next?.[Math.min(Math.floor((row / column.length) * next.length), next.length - 1)];
}

/**
 * Let Tab enter the drawing at one part, and pass over all others.
 * @param {Map<string, import("./types").Part>} parts
 * @param {string} name
 */
export function setTabStop(parts, name) {
  for (const [other, { node }] of parts) {
    if (node.hasAttribute("tabindex")) node.setAttribute("tabindex", other === name ? "0" : "-1");
  }
}
