/** The line on which a grid of numbers has a given value: marching squares, straight in each cell. */

/** @typedef {import("./types").Row} Row */

/**
 * Draw the line as one stroke, in the colour that the context has.
 * @param {CanvasRenderingContext2D} context
 * @param {Row[]} grid values in the middles of cells, row by row from the top
 * @param {number} level
 * @param {number} size of a cell
 */
export function drawContour(context, grid, level, size) {
  context.beginPath();
  for (const [x0, y0, x1, y1] of contour(grid, level)) {
    context.moveTo((x0 + 0.5) * size, (y0 + 0.5) * size);
    context.lineTo((x1 + 0.5) * size, (y1 + 0.5) * size);
  }
  context.lineWidth = 2;
  context.lineCap = "round";
  context.stroke();
}

/**
 * Return the pieces of the line, in columns and rows of the grid; none where a number is not finite.
 * @param {Row[]} grid
 * @param {number} level
 * @returns {number[][]} x and y of both ends of each
 */
export function contour(grid, level) {
  const pieces = /** @type {number[][]} */ ([]);
  for (let r = 0; r + 1 < grid.length; r += 1) {
    for (let c = 0; c + 1 < grid[r].length; c += 1) {
      // the corners, clockwise from the top left
      const corners = /** @type {[number, number, number][]} */ (
        [
          [c, r, grid[r][c]],
          [c + 1, r, grid[r][c + 1]],
          [c + 1, r + 1, grid[r + 1][c + 1]],
          [c, r + 1, grid[r + 1][c]],
        ].map(([x, y, v]) => [x, y, typeof v === "number" ? v - level : Number.NaN])
      );
      if (corners.every(([, , v]) => Number.isFinite(v))) pieces.push(...inCell(corners));
    }
  }
  return pieces;
}

/**
 * @param {[number, number, number][]} corners
 * @returns {number[][]}
 */
function inCell(corners) {
  const crossings = /** @type {number[][]} */ ([]);
  corners.forEach(([x0, y0, v0], i) => {
    const [x1, y1, v1] = corners[(i + 1) % 4];
    if (v0 >= 0 === v1 >= 0) return;
    const t = v0 / (v0 - v1);
    crossings.push([x0 + t * (x1 - x0), y0 + t * (y1 - y0)]);
  });
  if (crossings.length === 2) return [[...crossings[0], ...crossings[1]]];
  if (crossings.length < 4) return [];
  // a saddle: the middle tells which corners belong together
  const middle = corners.reduce((sum, [, , v]) => sum + v, 0);
  const [top, right, bottom, left] = crossings;
  return middle >= 0 === corners[0][2] >= 0
    ? [
        [...top, ...right],
        [...bottom, ...left],
      ]
    : [
        [...top, ...left],
        [...right, ...bottom],
      ];
}
