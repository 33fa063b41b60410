/** The page of the web host. */

import { App } from "./app.js";
import { WebTransport } from "./transport.js";

const root = /** @type {HTMLElement} */ (document.getElementById("chainrule"));
const app = new App(root, new WebTransport(), { page: true });
void app.start();
