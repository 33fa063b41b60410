/** The transport of the web host: requests by HTTP, training by WebSocket. */

const LOST = "The connection to Python is lost. Start chainrule explore again, and open its address.";

/** @typedef {import("./types").Frame} Frame */

/** @typedef {import("./types").Transport} Transport */

/** @implements {Transport} */
export class WebTransport {
  constructor() {
    this.live = true;
    this.linkWords =
      "The link holds the weights, data and settings. It opens in this browser, while the explorer runs; in " +
      "another one its address is refused. For somebody else, make a live page: chainrule explore --live FILE.";
    this.session = "";
  }

  /** @returns {Promise<Frame>} */
  async start() {
    const opened = await this.post("/api/sessions", {});
    this.session = opened.session;
    return opened.frame;
  }

  /** @param {Record<string, unknown>} request */
  async ask(request) {
    const { kind, ...fields } = request;
    return this.post(`/api/sessions/${this.session}/${kind}`, fields);
  }

  /**
   * @param {string} path
   * @param {object} body
   */
  async post(path, body) {
    const reply = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    }).catch(() => {
      throw new Error(LOST);
    });
    const message = await reply.json();
    if (message.kind === "error") throw new Error(message.message);
    return message;
  }

  /**
   * @param {Record<string, unknown>} request
   * @param {(frame: Frame) => void} onFrame
   */
  train(request, onFrame) {
    const address = new URL(`/api/sessions/${this.session}/train`, location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    /** @type {Promise<void>} */
    const done = new Promise((resolve, reject) => {
      socket.onopen = () => socket.send(JSON.stringify(request));
      socket.onmessage = (event) => {
        const message = JSON.parse(event.data);
        if (message.kind === "error") reject(new Error(message.message));
        else onFrame(message);
      };
      socket.onerror = () => reject(new Error(LOST));
      socket.onclose = () => resolve();
    });
    const stop = () => {
      if (socket.readyState === WebSocket.OPEN) socket.send("{}");
    };
    return { done, stop };
  }
}
