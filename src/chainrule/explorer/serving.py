"""Serving: how pages that the server makes are started, shown and stopped."""

from __future__ import annotations

import sys
import threading
from typing import Any

from chainrule.explorer import load


class Served:
    """Pages that can be served to a browser; `_make_app` makes the guarded application."""

    def __init__(self) -> None:
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def _make_app(self, *known: Any) -> Any:
        raise NotImplementedError

    def start(self, port: int | None = None, host: str = "127.0.0.1") -> str:
        """Serve the page in the background, and return its address.

        Args:
            port: The port; None takes the first free one from 8765 on.
            host: The address to listen on; the default is for this machine alone.

        Raises:
            ImportError: The packages of ``chainrule[explorer]`` are not installed.
            ValueError: The port is not free.
        """
        if self._server is None:
            self._server = load("hosts.server").Serving(self._make_app, host, port)
            self._thread = threading.Thread(target=self._server.run, daemon=True)
            self._thread.start()
        url: str = self._server.url
        return url

    def stop(self) -> None:
        """Stop serving."""
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join(10)
        self._server = self._thread = None

    def serve(self, port: int | None = None, browser: bool = True, host: str = "127.0.0.1") -> None:
        """Serve the page until Ctrl-C.

        Args:
            port: The port; None takes the first free one from 8765 on.
            browser: Whether to open the page in the browser.
            host: The address to listen on; the default is for this machine alone.

        Raises:
            ImportError: The packages of ``chainrule[explorer]`` are not installed.
            ValueError: The port is not free.
        """
        import webbrowser

        url = self.start(port, host)
        sys.stdout.write(f"{url}\nPress Ctrl-C to stop.\n")
        sys.stdout.flush()
        if browser:
            webbrowser.open(url)
        try:
            while self._thread is not None and self._thread.is_alive():
                self._thread.join(0.5)
        except KeyboardInterrupt:
            pass
        finally:
            self.stop()
