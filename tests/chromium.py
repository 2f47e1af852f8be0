"""A headless Chromium, driven over a pipe in the words of the DevTools Protocol: no package is needed for it.

https://chromedevtools.github.io/devtools-protocol/: messages are JSON, each ended by a zero byte.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="THE PAGE IS NOT TRIED IN A BROWSER: no Chromium (Debian: apt-get install chromium)"
)

PATIENCE = 60  # seconds for whatever is waited for
ISOLATED = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
"""Nothing but this machine can be reached, whatever a page asks for."""
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # which does not work as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-pipe",
    "--window-size=1440,900",
    "--disable-background-networking",
)

_MIDDLE = """(element) => {
  const box = element?.getBoundingClientRect();
  const middle = box && { x: box.x + box.width / 2, y: box.y + box.height / 2 };
  return middle && element.contains(document.elementFromPoint(middle.x, middle.y)) && middle;
}"""

Json = dict[str, Any]  # whatever the protocol says


class Browser:
    """One page, and what it asked for and complained about."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._received = b""
        self._number = 0
        self._session: str | None = None
        self.requested: list[str] = []
        """Every address that was asked for."""
        self.complaints: list[str] = []
        """Errors and warnings in the console, exceptions, and what the policy stopped."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    @property
    def hosts(self) -> set[str]:
        """The hosts that were asked for anything."""
        return {urlsplit(address).hostname or "" for address in self.requested if address.startswith(("http", "ws"))}

    def call(self, method: str, **parameters: Any) -> Json:
        """Have something done, and return what comes of it."""
        self._number += 1
        message: Json = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, address: str) -> None:
        """Go to a page."""
        self.call("Page.navigate", url=address)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is in the page; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, (expression, answer["exceptionDetails"])
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait for an expression to be true."""
        end = time.monotonic() + PATIENCE
        while not self.value(f"Boolean({expression})"):
            assert time.monotonic() < end, (expression, self.complaints, self.value("document.body.innerText"))
            time.sleep(0.05)

    def click(self, expression: str) -> None:
        """Click, as the mouse does, into the middle of an element, once it is there and nothing lies over it."""
        self.until(f"({_MIDDLE})({expression})")
        place = self.value(f"({_MIDDLE})({expression})")
        for type_ in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=type_, button="left", clickCount=1, **place)

    def type(self, text: str) -> None:
        """Put a text where the cursor is."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        """Keep what there is to see, as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def _next(self) -> Json:
        while b"\0" not in self._received:
            assert select.select([self._reads], [], [], PATIENCE)[0], "the browser does not answer"
            piece = os.read(self._reads, 1 << 20)
            assert piece, "the browser is gone"
            self._received += piece
        text, _, self._received = self._received.partition(b"\0")
        message: Json = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, event: Json) -> None:
        match method:
            case "Network.requestWillBeSent":
                self.requested.append(event["request"]["url"])
            case "Log.entryAdded" if event["entry"]["level"] in ("error", "warning"):
                self.complaints.append(event["entry"]["text"] + " " + event["entry"].get("url", ""))
            case "Runtime.consoleAPICalled" if event["type"] in ("error", "warning", "assert"):
                self.complaints.append(str([of.get("value", of.get("description")) for of in event["args"]]))
            case "Runtime.exceptionThrown":
                self.complaints.append(str(event["exceptionDetails"].get("exception", {}).get("description")))
            case _:
                pass


@contextmanager
def browser(names: str = ISOLATED) -> Generator[Browser]:
    """A browser with an empty profile that finds hosts as Chromium's ``--host-resolver-rules`` say."""
    assert CHROMIUM is not None
    theirs, writes = os.pipe()
    reads, answers = os.pipe()
    with TemporaryDirectory(prefix="storegraph-chromium-", ignore_cleanup_errors=True) as profile:
        # It speaks on the descriptors 3 and 4, whichever ours are.
        process = subprocess.Popen(
            [
                "bash",
                "-c",
                f'exec "$0" "$@" 3<&{theirs} 4>&{answers}',
                CHROMIUM,
                *_OPTIONS,
                f"--user-data-dir={profile}",
                f"--host-resolver-rules={names}",
            ],
            pass_fds=(theirs, answers),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(answers)
        try:
            yield Browser(reads, writes)
        finally:
            os.close(writes)  # which ends it, and has it tidy up; killed, it leaves files and processes behind
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
                os.close(reads)
