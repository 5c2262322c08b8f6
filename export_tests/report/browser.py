"""A headless Chromium, spoken to over pipes by its DevTools protocol: no library is needed."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE_S = 30


def path():
    """The browser that is installed, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A browser that runs until it is closed."""

    def __init__(self, profile: Path) -> None:
        read_ours, write_theirs = os.pipe()
        read_theirs, write_ours = os.pipe()
        quiet = os.open(os.devnull, os.O_RDWR)
        # The browser reads commands from descriptor 3 and writes answers to 4.
        actions = [(os.POSIX_SPAWN_DUP2, quiet, place) for place in (0, 1, 2)]
        actions += [(os.POSIX_SPAWN_DUP2, read_theirs, 3), (os.POSIX_SPAWN_DUP2, write_theirs, 4)]
        self._process = os.posix_spawn(
            path(),
            [path(), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            os.environ,
            file_actions=actions,
            setpgroup=0,
        )
        for descriptor in (read_theirs, write_theirs, quiet):
            os.close(descriptor)
        self._read, self._write = read_ours, write_ours
        self._ids = itertools.count(1)
        self._rest = b""
        self.events: list[dict] = []

    def call(self, method, session=None, **params):
        """Sends a command, and waits for its answer."""
        message = {"id": next(self._ids), "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == message["id"]:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self.events.append(answer)

    def _receive(self, deadline):
        while b"\0" not in self._rest:
            left = deadline - time.monotonic()
            assert left > 0, "the browser does not answer"
            assert select.select([self._read], [], [], left)[0], "the browser does not answer"
            part = os.read(self._read, 1 << 16)
            assert part, "the browser has gone"
            self._rest += part
        first, _, self._rest = self._rest.partition(b"\0")
        return json.loads(first)

    def close(self) -> None:
        os.close(self._write)
        os.close(self._read)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process, signal.SIGTERM)
        os.waitpid(self._process, 0)


class Page:
    """A tab, which shows one file after another."""

    def __init__(self, browser) -> None:
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def open(self, file: Path, *, width=1280, height=800, dark=False, script=True) -> None:
        self.resize(width, height)
        self.emulate("prefers-color-scheme", "dark" if dark else "light")
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.call("Log.clear")
        self._browser.events.clear()
        self.call("Page.navigate", url=file.as_uri())
        self._wait("Page.loadEventFired")

    def call(self, method, **params):
        return self._browser.call(method, self._session, **params)

    def _wait(self, method) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not any(one.get("method") == method for one in self._browser.events):
            self._browser.events.append(self._browser._receive(deadline))

    def seen(self, method):
        """The parameters of the events of a kind since the page was opened."""
        self.run("1")
        return [e["params"] for e in self._browser.events if e.get("method") == method]

    def resize(self, width, height=800) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def emulate(self, feature, value, media="") -> None:
        features = [{"name": feature, "value": value}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def run(self, expression):
        """The value of an expression; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, *keys) -> None:
        texts = {"Enter": "\r", " ": " "}
        for key in keys:
            typed = texts.get(key, key if len(key) == 1 else "")
            codes = {"Enter": 13, "Escape": 27, "Tab": 9, " ": 32}
            what = {"key": key, "code": key, "windowsVirtualKeyCode": codes.get(key, 0)}
            self.call("Input.dispatchKeyEvent", type="keyDown", text=typed, **what)
            self.call("Input.dispatchKeyEvent", type="keyUp", **what)
