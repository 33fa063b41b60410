/** The C++ core in the worker of a live page. `startChainruleCore(modules)` sets `chainruleCore`, which makes instances of it for engines/wasm.py. */

(() => {
  const scope = /** @type {any} */ (globalThis);
  const BAD_FILE = 8; // errno of WASI

  /** Take the first that this browser compiles: not each has every kind of SIMD. @param {any[]} modules */
  scope.startChainruleCore = async (modules) => {
    for (const bytes of modules) {
      if (!WebAssembly.validate(bytes)) continue;
      const module = await WebAssembly.compile(bytes);
      scope.chainruleCore = () => instance(module);
      return;
    }
    console.warn("This browser does not run the C++ core; NumPy trains.");
  };

  /** An instance, with a memory of its own. @param {WebAssembly.Module} module */
  function instance(module) {
    /** @type {any} */
    let core = null;
    /** @type {(steps: number, loss: number) => boolean} */
    let asked = () => false;
    const memory = () => new DataView(core.memory.buffer);

    // Of the system the core needs its clock alone; it opens no file, and has no variables.
    const system = {
      clock_time_get: (/** @type {number} */ _clock, /** @type {bigint} */ _precision, /** @type {number} */ at) => {
        memory().setBigUint64(at, BigInt(Math.round(performance.now() * 1e6)), true);
        return 0;
      },
      environ_sizes_get: (/** @type {number} */ count, /** @type {number} */ size) => {
        memory().setUint32(count, 0, true);
        memory().setUint32(size, 0, true);
        return 0;
      },
      environ_get: () => 0,
      fd_close: () => BAD_FILE,
      fd_seek: () => BAD_FILE,
      fd_write: () => BAD_FILE,
      proc_exit: () => {
        throw new Error("the core stopped");
      },
    };
    const ask = (/** @type {number} */ steps, /** @type {number} */ loss) => (asked(steps, loss) ? 1 : 0);
    const imports = { wasi_snapshot_preview1: system, chainrule: { ask } };
    core = new WebAssembly.Instance(module, imports).exports;
    core._initialize();

    /** The bytes of an array of Python's. @param {any} array @param {(bytes: Uint8Array) => void} use */
    function withBytes(array, use) {
      const view = array.getBuffer("u8");
      try {
        use(view.data);
      } finally {
        view.release();
      }
    }
    return {
      call: (/** @type {string} */ name, /** @type {number[]} */ ...given) => core[name](...given),
      run(
        /** @type {string} */ name,
        /** @type {number} */ at,
        /** @type {any} */ block,
        /** @type {number} */ back,
        ...given
      ) {
        withBytes(block, (bytes) => new Uint8Array(core.memory.buffer).set(bytes, at));
        const result = core[name](...given); // in which either memory may grow, and move
        if (back) withBytes(block, (bytes) => bytes.set(new Uint8Array(core.memory.buffer, at, back)));
        return result;
      },
      read: (/** @type {number} */ at, /** @type {any} */ array) =>
        withBytes(array, (bytes) => bytes.set(new Uint8Array(core.memory.buffer, at, bytes.length))),
      answer: (/** @type {(steps: number, loss: number) => boolean} */ answer) => {
        asked = answer;
      },
    };
  }
})();
