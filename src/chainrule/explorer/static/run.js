/** The page of a watched run: it follows the run, and opens steps from its curves. */

const OFTEN = 1000; // milliseconds between two looks at a run that goes on
const SELDOM = 5000; // after a look that failed

/** @typedef {[step: number, across: number, value: string]} Point */

/** @type {Map<string, number>} the step that is chosen on each curve, by its title */
const chosen = new Map();

/** @param {string} id */
const part = (id) => document.getElementById(id);

// --- curves ---------------------------------------------------------------------------------------

/**
 * @param {HTMLElement} box
 * @returns {Point[]}
 */
const points = (box) => JSON.parse(box.dataset.points ?? "[]");

/**
 * Return the place of the point whose key is nearest.
 * @param {Point[]} all
 * @param {(point: Point) => number} key
 * @param {number} wanted
 */
function nearest(all, key, wanted) {
  let best = 0;
  all.forEach((point, i) => {
    if (Math.abs(key(point) - wanted) < Math.abs(key(all[best]) - wanted)) best = i;
  });
  return best;
}

/** Make the curves ones that the keyboard reaches, each with the step that was chosen before. */
function prepare() {
  for (const box of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".box"))) {
    if (!box.hasAttribute("role")) {
      box.setAttribute("role", "slider");
      box.tabIndex = 0;
      const line = document.createElement("span");
      line.className = "cursor";
      line.hidden = true;
      box.append(line);
      const said = document.createElement("span");
      said.className = "readout small";
      box.closest("figure")?.append(said);
      box.setAttribute("aria-label", `${box.dataset.title}: arrows choose a step, Enter opens it`);
    }
    const all = points(box);
    const before = chosen.get(box.dataset.title ?? "");
    choose(box, before === undefined ? all.length - 1 : nearest(all, (p) => p[0], before), before !== undefined);
  }
}

/**
 * @param {HTMLElement} box
 * @param {number} place
 * @param {boolean} shown whether the reader chose it
 */
function choose(box, place, shown = true) {
  const all = points(box);
  const [step, across, value] = all[Math.max(0, Math.min(place, all.length - 1))];
  const words = `step ${step}: ${value}`;
  box.setAttribute("aria-valuemin", `${all[0][0]}`);
  box.setAttribute("aria-valuemax", `${all[all.length - 1][0]}`);
  box.setAttribute("aria-valuenow", `${step}`);
  box.setAttribute("aria-valuetext", words);
  if (!shown) return;
  chosen.set(box.dataset.title ?? "", step);
  const line = /** @type {HTMLElement} */ (box.querySelector(".cursor"));
  line.hidden = false;
  line.style.left = `${100 * across}%`;
  const said = box.closest("figure")?.querySelector(".readout");
  if (said) said.textContent = words;
}

/** @param {HTMLElement} box */
const placeOf = (box) => nearest(points(box), (p) => p[0], Number(box.getAttribute("aria-valuenow")));

/** @param {HTMLElement} box */
function visit(box) {
  location.href = `/step?step=${box.getAttribute("aria-valuenow")}`;
}

/** @param {Event} event */
const boxOf = (event) =>
  /** @type {HTMLElement | null} */ (event.target instanceof Element ? event.target.closest(".box") : null);

/** @param {MouseEvent} event */
function point(event) {
  const box = boxOf(event);
  if (!box) return null;
  const place = box.getBoundingClientRect();
  choose(
    box,
    nearest(points(box), (p) => p[1], (event.clientX - place.left) / place.width),
  );
  return box;
}

document.addEventListener("pointermove", point);
document.addEventListener("click", (event) => {
  const box = point(event);
  if (box) visit(box);
});
document.addEventListener("keydown", (event) => {
  const box = boxOf(event);
  if (!box || event.ctrlKey || event.altKey || event.metaKey) return;
  const at = placeOf(box);
  const last = points(box).length - 1;
  const moves = {
    ArrowLeft: at - 1,
    ArrowDown: at - 1,
    ArrowRight: at + 1,
    ArrowUp: at + 1,
    PageDown: at - 20,
    PageUp: at + 20,
    Home: 0,
    End: last,
  };
  if (event.key === "Enter") visit(box);
  else if (event.key in moves) choose(box, moves[/** @type {keyof typeof moves} */ (event.key)]);
  else return;
  event.preventDefault();
});

// --- following ------------------------------------------------------------------------------------

/** @type {Map<string, string>} what the server last sent for each part, by its id */
const sent = new Map();

let version = "";
let news = "";
let paused = false;

/**
 * Put new parts in the place of old ones; the focus and how far tables are scrolled stay.
 * @param {Document} page
 */
function renew(page) {
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = page.getElementById(old.id);
    const html = now?.innerHTML ?? "";
    if (html === sent.get(old.id)) continue;
    const active = document.activeElement;
    const held = active && old.contains(active) ? places(old).indexOf(active) : -1;
    const scrolled = [...old.querySelectorAll(".wide")].map((table) => table.scrollLeft);
    old.innerHTML = html;
    sent.set(old.id, html);
    old.querySelectorAll(".wide").forEach((table, i) => {
      table.scrollLeft = scrolled[i] ?? 0;
    });
    prepare();
    if (held >= 0) /** @type {HTMLElement | undefined} */ (places(old)[held])?.focus({ preventScroll: true });
  }
  for (const now of page.querySelectorAll("[data-live]")) {
    if (!part(now.id)) document.querySelector("main")?.append(document.adoptNode(now));
  }
  prepare();
  const now = /** @type {HTMLElement | null} */ (document.querySelector("[data-news]"))?.dataset.news ?? "";
  if (news && now !== news) announce(now);
  news = now;
}

/** @param {string} words read out by a screen reader */
function announce(words) {
  const said = part("news");
  if (said) said.textContent = words;
}

/** @param {Element} inside */
const places = (inside) => [...inside.querySelectorAll("a, button, input, [tabindex]")];

async function look() {
  let wait = OFTEN;
  try {
    if (!paused && !document.hidden) {
      const reply = await fetch(location.href, { headers: { "if-none-match": version } });
      if (reply.ok) {
        const page = new DOMParser().parseFromString(await reply.text(), "text/html");
        renew(page);
        version = reply.headers.get("etag") ?? "";
        wait = Number(page.getElementById("follow")?.dataset.wait ?? OFTEN);
      } else if (reply.status !== 304) {
        tell(`This page no longer follows the run: the server answers ${reply.status}.`);
        wait = SELDOM;
      }
    }
  } catch {
    tell("This page no longer follows the run: its server has stopped.");
    wait = SELDOM;
  }
  setTimeout(look, wait);
}

/** @param {string} words */
function tell(words) {
  const place = part("live-state");
  if (!place || place.textContent === words) return;
  place.textContent = words;
  announce(words);
  version = ""; // so that the next answer puts the page right
  sent.delete("live-state");
}

prepare();
const button = part("follow")?.querySelector("button");
if (button) {
  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Follow" : "Pause";
  });
}
if (document.querySelector("[data-live]")) setTimeout(look, OFTEN);
