/** The tip: the facts of the part under the pointer, or in focus. */

import { el } from "./dom.js";

const GAP = 14; // pixels between the pointer and the tip
const EDGE = 5; // pixels that stay free inside the drawing

export class Tip {
  constructor() {
    this.node = el("div.tip", { hidden: true });
  }

  /**
   * @param {[string, string][]} lines
   * @param {number[]} at the place on screen
   */
  show(lines, at) {
    this.node.replaceChildren(...lines.map(([name, value]) => el("div", {}, el("span", {}, name), el("b", {}, value))));
    this.node.hidden = false;
    const box = this.node.parentElement.getBoundingClientRect();
    const left = Math.min(at[0] - box.left + GAP, box.width - this.node.offsetWidth - EDGE);
    this.node.style.left = `${Math.max(left, EDGE)}px`;
    this.node.style.top = `${Math.min(at[1] - box.top + GAP, box.height - this.node.offsetHeight - EDGE)}px`;
  }

  hide() {
    this.node.hidden = true;
  }
}

/**
 * Return the middle of an element on screen.
 * @param {Element} node
 */
export function middleOf(node) {
  const box = node.getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2];
}
