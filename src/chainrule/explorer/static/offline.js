/** The transport of the offline file: recorded answers, one set for each step. */

import { App } from "./app.js";

/** @typedef {import("./types").Frame} Frame */
/** @typedef {import("./types").Transport} Transport */
/** @typedef {{ chunks: string[], shapes: [number[], number[]][], keys: string[], records: { numbers: string, answers: number[] }[] }} Tape */

const PAUSE = 60; // milliseconds between two steps that are played

/** @implements {Transport} */
export class OfflineTransport {
  constructor() {
    this.live = false;
    this.record = 0;
    /** @type {Tape | null} */
    this.tape = null;
  }

  /** @returns {Promise<Frame>} */
  async start() {
    const text = document.getElementById("recording")?.textContent ?? "";
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    this.tape = await new Response(stream).json();
    this.record = (this.tape?.records.length ?? 1) - 1;
    return this.frame();
  }

  /**
   * @param {string} key
   * @param {number} [record]
   */
  answer(key, record = this.record) {
    const tape = /** @type {Tape} */ (this.tape);
    const { numbers, answers } = tape.records[record];
    const shape = tape.shapes[answers[tape.keys.indexOf(key)] ?? -1];
    if (!shape) return null;
    const [chunks, gaps] = shape;
    const pool = numbers.split(" ");
    return JSON.parse(chunks.map((c, i) => tape.chunks[c] + (i < gaps.length ? pool[gaps[i]] : "")).join(""));
  }

  frame() {
    const frame = this.answer("look");
    if (this.record) frame.training.curve = this.answer("look", 0).training.curve;
    return frame;
  }

  /** @param {Record<string, any>} request */
  async ask(request) {
    if (request.kind === "seek") {
      this.record = request.record;
      return this.frame();
    }
    if (request.kind === "look") return this.frame();
    const frozen = request.freeze_biases && "frozen";
    const key = [request.kind, frozen, request.target, request.units?.join(",")].filter(Boolean).join(" ");
    const found = this.answer(key);
    if (found && request.kind === "results" && this.record) {
      const first = this.answer("results", 0);
      for (const name of ["points", "validation", "images"]) if (!found[name].length) found[name] = first[name];
    }
    if (found) return found;
    const kept = ["prove", "latex", "picture", "units", "worked"].includes(request.kind);
    throw new Error(
      kept
        ? "The file has this for some steps only. Choose the first or the last step."
        : "The file is a recording without Python. Run chainrule explore for this.",
    );
  }

  /**
   * Play the recorded steps.
   * @param {Record<string, unknown>} request
   * @param {(frame: Frame) => void} onFrame
   */
  train(request, onFrame) {
    const last = (this.tape?.records.length ?? 1) - 1;
    if (this.record >= last) this.record = 0;
    let over = false;
    /** @type {Promise<void>} */
    const done = new Promise((resolve) => {
      const next = () => {
        if (over || this.record >= last) return resolve();
        this.record += 1;
        onFrame({ ...this.frame(), results: this.resultsNow() });
        return setTimeout(next, PAUSE);
      };
      next();
    });
    return {
      done,
      stop: () => {
        over = true;
      },
    };
  }

  resultsNow() {
    return this.answer("results");
  }
}

export function start() {
  const root = /** @type {HTMLElement} */ (document.getElementById("chainrule"));
  void new App(root, new OfflineTransport(), {}).start();
}
