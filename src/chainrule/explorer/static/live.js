/** The transport of a live page: a Session in a worker, where Python runs as WebAssembly. */

import { App } from "./app.js";
import { download, el } from "./dom.js";
import { NotebookTransport } from "./notebook.js";

const STOPPED = "Python has stopped in this page. Reload the page to start it again.";

/** The worker in the place of the kernel's model that the transport of a notebook talks to. */
class Port {
  /** @param {Worker} worker */
  constructor(worker) {
    this.worker = worker;
    /** @type {(event: MessageEvent) => void} */
    this.listener = () => {};
  }

  /**
   * @param {string} _
   * @param {(message: any) => void} receive
   */
  on(_, receive) {
    this.listener = (event) => receive(event.data);
    this.worker.addEventListener("message", this.listener);
  }

  off() {
    this.worker.removeEventListener("message", this.listener);
  }

  /** @param {unknown} message */
  send(message) {
    this.worker.postMessage(message);
  }
}

/** @typedef {import("./types").Transport} Transport */

/** @implements {Transport} */
export class LiveTransport extends NotebookTransport {
  /**
   * @param {Worker} worker
   * @param {string} withoutCore why it has no compiled core, or ""
   */
  constructor(worker, withoutCore) {
    super(new Port(worker));
    this.engineNote = withoutCore && `Training uses NumPy, which is slower: ${withoutCore}.`;
    this.isFile = location.protocol === "file:";
    this.linkWords = this.isFile
      ? "The link holds the weights, data and settings. It opens this file, on this computer. For " +
        "somebody else, save the page below and send the file."
      : "The link holds the weights, data and settings. It opens for everybody who can open this page.";
    this.notices = document.getElementById("notices")?.textContent?.trim() ?? "";
    worker.onerror = () => {
      for (const [id, give] of this.waiting) {
        this.waiting.delete(id);
        give({ kind: "error", message: STOPPED });
      }
    };
    if (this.isWhole()) this.save = () => this.savePage();
  }

  /** Whether the page needs no other file, so that it can be saved with its state. */
  isWhole() {
    return !document.querySelector("script[data-file]");
  }

  async savePage() {
    const reply = await this.post({ save: true });
    const copy = /** @type {HTMLElement} */ (document.documentElement.cloneNode(true));
    copy.removeAttribute("data-theme");
    /** @type {HTMLElement} */ (copy.querySelector("#chainrule")).replaceChildren();
    /** @type {HTMLElement} */ (copy.querySelector("#session")).textContent = await base64(reply.content);
    download(new Blob(["<!DOCTYPE html>\n", copy.outerHTML, "\n"], { type: "text/html" }), "lesson.html");
  }
}

/** @param {Uint8Array} bytes */
function base64(bytes) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(/** @type {string} */ (reader.result).split(",")[1]);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(new Blob([/** @type {any} */ (bytes)]));
  });
}

/** What is seen until Python has started. */
class Start {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.bar = el("progress", { max: 1, value: "0", "aria-label": "Start of Python" });
    this.words = el("p", { role: "status" });
    this.note = el("p.note", {}, "Python runs in this page. Nothing is sent anywhere.");
    this.node = el("div.cr-start", {}, el("h1", {}, "chainrule explorer"), this.words, this.bar, this.note);
    root.replaceChildren(this.node);
  }

  /**
   * @param {string} words
   * @param {number} done
   */
  say(words, done) {
    this.words.textContent = `${words} …`;
    this.bar.value = done;
  }

  /** @param {unknown} error */
  fail(error) {
    this.words.setAttribute("role", "alert");
    this.words.textContent = `The explorer cannot start: ${/** @type {Error} */ (error).message ?? error}`;
    this.bar.remove();
    this.note.remove();
  }
}

/**
 * Return a part of the page: from its text, or from the file that it names.
 * @param {string} id
 * @param {(done: number, of: number) => void} [onProgress] bytes
 */
async function part(id, onProgress) {
  const node = /** @type {HTMLElement} */ (document.getElementById(id));
  const file = node.dataset.file;
  const address = file ?? `data:application/octet-stream;base64,${node.textContent?.trim()}`;
  const reply = await fetch(address).catch(() => {
    throw new Error(
      location.protocol === "file:"
        ? "this page is part of a site, which a web server has to show. Start one in its folder: python -m http.server"
        : `${file} cannot be loaded. Check the connection, and reload the page.`,
    );
  });
  if (!reply.ok) throw new Error(`${file} cannot be loaded (status ${reply.status}). The site is not complete.`);
  if (!file || !onProgress) return new Uint8Array(await reply.arrayBuffer());
  const bytes = new Uint8Array(Number(node.dataset.size));
  const reader = /** @type {ReadableStream<Uint8Array>} */ (reply.body).getReader();
  let at = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (at + value.length > bytes.length) throw new Error(`${file} is not the file of this page. Reload the page.`);
    bytes.set(value, at);
    at += value.length;
    onProgress(at, bytes.length);
  }
  return bytes.subarray(0, at);
}

/** @param {Uint8Array} bytes */
function unpacked(bytes) {
  const stream = new Blob([/** @type {any} */ (bytes)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** @param {Start} screen */
async function startPython(screen) {
  const loading = (/** @type {number} */ done, /** @type {number} */ of) =>
    screen.say(`Loading Python: ${(done / 1e6).toFixed(1)} of ${(of / 1e6).toFixed(1)} MB`, (0.2 * done) / of);
  screen.say("Unpacking Python", 0.05);
  const [program, pack, session] = await Promise.all([
    part("program").then(unpacked),
    part("pack", loading).then(unpacked),
    part("session"),
  ]);
  const why = { withoutCore: "" };
  const worker = new Worker(URL.createObjectURL(new Blob([program], { type: "text/javascript" })));
  await new Promise((resolve, reject) => {
    worker.addEventListener("message", ({ data }) => {
      if (data.progress) screen.say(data.progress.words, data.progress.done);
      if (data.started) resolve((why.withoutCore = data.withoutCore));
      if (data.failed) reject(new Error(data.failed));
    });
    worker.onerror = (event) => reject(new Error(event.message || "Python has stopped"));
    worker.postMessage({ pack, session }, [pack]);
  });
  return new LiveTransport(worker, why.withoutCore);
}

export async function start() {
  const root = /** @type {HTMLElement} */ (document.getElementById("chainrule"));
  const screen = new Start(root);
  try {
    const app = new App(root, await startPython(screen), { page: true });
    await app.start();
    const asked = () => new URLSearchParams(location.hash.slice(1));
    const lesson = asked().get("lesson");
    if (lesson) {
      await app.lessons.choose(); // which stays where there is no such lesson
      await app.lessons.begin({ lesson });
    }
    window.addEventListener("hashchange", () => {
      const state = asked().get("s"); // a link that was pasted over the address
      if (state) void app.change({ kind: "restore", state });
    });
  } catch (error) {
    screen.fail(error);
  }
}
