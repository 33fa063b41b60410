/** The worker of a live page: it starts Python from the pack, and passes messages to its Desk. */

(() => {
  const scope = /** @type {any} */ (globalThis);
  const SITE = "https://live.invalid/"; // never asked: every file is in the pack
  /** @type {Map<string, Uint8Array>} */
  const files = new Map();

  let withoutCore = ""; // why NumPy trains

  /** Pyodide fetches its files; here they come from the pack, and nothing from elsewhere. */
  scope.fetch = async (/** @type {any} */ address) => {
    const name = String(address.url ?? address).replace(SITE, "");
    const content = files.get(name);
    if (!content) return new Response("", { status: 404 });
    const type = name.endsWith(".wasm") ? "application/wasm" : "application/octet-stream";
    return new Response(/** @type {any} */ (content), { headers: { "content-type": type } });
  };

  /** @param {string} words @param {number} done share of the start that is done, 0 to 1 */
  const say = (words, done) => scope.postMessage({ progress: { words, done } });

  /** @param {ArrayBuffer} pack */
  function open(pack) {
    const length = new DataView(pack).getUint32(0, true);
    const index = JSON.parse(new TextDecoder().decode(new Uint8Array(pack, 4, length)));
    for (const [name, start, size] of index) files.set(name, new Uint8Array(pack, 4 + length + start, size));
  }

  /** @param {{ pack: ArrayBuffer, session: Uint8Array }} given */
  async function start({ pack, session }) {
    open(pack);
    say("Starting Python", 0.3);
    const python = await scope.loadPyodide({
      indexURL: SITE,
      stdLibURL: `${SITE}python_stdlib.zip`,
      lockFileURL: `${SITE}pyodide-lock.json`,
    });
    say("Unpacking NumPy and chainrule", 0.6);
    python.unpackArchive(files.get("packages.zip"), "zip", { extractDir: "/lib/python3.12/site-packages" });
    // The core in C++, if the page has it: its glue sets chainruleCore, which Python looks for.
    const core = ["core-relaxed.wasm", "core.wasm"].map((name) => files.get(name)).filter(Boolean);
    if (scope.startChainruleCore) await scope.startChainruleCore(core);
    withoutCore = scope.chainruleCore
      ? ""
      : core.length
        ? "this browser does not run the C++ core"
        : "this page was built without the C++ core";
    files.clear();
    say("Loading NumPy and chainrule", 0.7);
    const host = python.pyimport("chainrule.explorer.hosts.browser");
    say("Opening the network", 0.95);
    return host.Desk(python.toPy(session).tobytes());
  }

  /** @param {any} error */
  const reason = (error) =>
    String(error.message ?? error)
      .trim()
      .split("\n")
      .pop() ?? "";

  /** @param {any} desk @param {{ id: number, request: any, save?: boolean }} message */
  function answer(desk, { id, request, save }) {
    try {
      if (save) return { id, reply: { kind: "saved", content: desk.save().toJs() } };
      return { id, reply: JSON.parse(desk.handle(JSON.stringify(request))) };
    } catch (error) {
      return { id, reply: { kind: "error", message: `Python could not answer: ${reason(error)}` } };
    }
  }

  scope.onmessage = async (/** @type {MessageEvent} */ first) => {
    try {
      const desk = await start(first.data);
      scope.onmessage = (/** @type {MessageEvent} */ event) => scope.postMessage(answer(desk, event.data));
      scope.postMessage({ started: true, withoutCore });
    } catch (error) {
      console.error(error); // whole, for whoever looks into it
      scope.postMessage({ failed: reason(error) });
    }
  };
})();
