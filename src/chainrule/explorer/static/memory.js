/** What the browser remembers of the page: the theme, and which groups are open. */

import { el } from "./dom.js";

/** @param {string} name */
export function stored(name) {
  try {
    return localStorage.getItem(`chainrule ${name}`);
  } catch {
    return null; // a file or a notebook may have no storage
  }
}

/**
 * @param {string} name
 * @param {string} value
 */
export function store(name, value) {
  try {
    localStorage.setItem(`chainrule ${name}`, value);
  } catch {
    // then the choice is forgotten
  }
}

/** Return the names of the groups that are open. */
function opened() {
  return new Set((stored("groups") ?? "").split("\n").filter(Boolean));
}

/**
 * Let the browser remember whether a group is open.
 * @param {HTMLDetailsElement} node
 * @param {string} name
 */
export function remember(node, name) {
  node.open = opened().has(name);
  node.addEventListener("toggle", () => {
    const names = opened();
    if (node.open) names.add(name);
    else names.delete(name);
    store("groups", [...names].join("\n"));
  });
}

/**
 * Return a card that is folded until it is wanted; `now` says beside its title what is set.
 * @param {string} title
 * @param {string} label
 * @param {...(Node | null)} children
 */
export function group(title, label, ...children) {
  const now = el("span.now", {});
  const node = el(
    "details.card.group",
    { "aria-label": label },
    el("summary", {}, el("h2", {}, title), now),
    el("div.inside", {}, ...children),
  );
  remember(node, title);
  return { node, now };
}
