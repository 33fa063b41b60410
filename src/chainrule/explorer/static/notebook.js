/** The transport of a notebook: messages through the kernel, by anywidget. */

import { App } from "./app.js";

/** @typedef {import("./types").Frame} Frame */
/** @typedef {import("./types").Transport} Transport */

/** @implements {Transport} */
export class NotebookTransport {
  /** @param {any} model */
  constructor(model) {
    this.live = true;
    this.model = model;
    this.sent = 0;
    /** @type {Map<number, (reply: any) => void>} */
    this.waiting = new Map();
    this.receive = (/** @type {any} */ message) => {
      this.waiting.get(message.id)?.(message.reply);
      this.waiting.delete(message.id);
    };
    model.on("msg:custom", this.receive);
  }

  close() {
    this.model.off("msg:custom", this.receive);
  }

  /** @returns {Promise<Frame>} */
  start() {
    return this.ask({ kind: "look" });
  }

  /**
   * @param {Record<string, unknown>} request
   * @returns {Promise<any>}
   */
  ask(request) {
    return this.post({ request });
  }

  /**
   * @param {Record<string, unknown>} message
   * @returns {Promise<any>}
   */
  post(message) {
    this.sent += 1;
    const id = this.sent;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, (reply) => (reply.kind === "error" ? reject(new Error(reply.message)) : resolve(reply)));
      this.model.send({ ...message, id });
    });
  }

  /**
   * @param {Record<string, any>} request
   * @param {(frame: Frame) => void} onFrame
   */
  train(request, onFrame) {
    let over = false;
    const run = async () => {
      let { steps, ...rest } = request;
      let [again, before] = [false, -1];
      let [seconds, pictures] = [0.045, true];
      while (!over) {
        const asked = performance.now();
        const frame = await this.ask({
          kind: "train",
          ...rest,
          ...(steps ? { steps } : {}),
          seconds,
          again,
          results: pictures,
        });
        // A frame costs time, too: where it costs more than a quarter of what is trained, frames are fewer. The
        // pictures come with every second one, which is enough for the eye.
        const cost = (performance.now() - asked) / 1000 - seconds;
        seconds = Math.min(Math.max(0.045, 0.8 * seconds + 0.2 * (4 * cost)), 0.15);
        pictures = Boolean(rest.pace) || !pictures;
        const now = frame.training.step;
        if (steps && before >= 0) steps -= now - before;
        else if (steps) steps -= Math.min(steps, rest.pace ?? steps);
        if (now === before || frame.training.message || (request.steps && !(steps > 0))) over = true;
        [again, before] = [true, now];
        onFrame(frame);
        if (rest.pace) await new Promise((resolve) => setTimeout(resolve, 45));
      }
    };
    return {
      done: run(),
      stop: () => {
        over = true;
      },
    };
  }
}

/** @param {{ model: any, el: HTMLElement }} given */
export function render({ model, el }) {
  const transport = new NotebookTransport(model);
  void new App(el, transport, {}).start();
  return () => transport.close();
}
