"""Sends a run to a kelvin server elsewhere while it is written (docs/dashboard.md)."""
import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

BATCH = 4 << 20  # bytes of a request
PAUSE = 1.0      # seconds between requests, so that batches are large


class Shipper(threading.Thread):
    """Sends folder/events.jsonl to the server at url, from where the server says that it
    ends there. The file is the buffer: whichever side is killed, nothing is lost or
    doubled, and a shipper of the same folder goes on."""

    def __init__(self, folder, url, token=None, say=print):
        super().__init__(daemon=True, name="kelvin-ship")
        self.folder, self.url, self.say = folder, url.rstrip("/"), say
        self.token = token or os.environ.get("KELVIN_TOKEN")
        path = os.path.relpath(folder) if not os.path.isabs(folder) else os.path.basename(folder.rstrip("/"))
        parts = [p.lstrip(".") for p in path.replace(os.sep, "/").split("/")]
        self.run_id = "/".join(p for p in parts if p)
        self._closing, self._sent = threading.Event(), None
        self.start()

    def close(self, seconds=10):
        """Waits for what is written to arrive, so long."""
        self._closing.set()
        self.join(seconds)
        if self.is_alive():
            self.say(f"not all of {self.folder} has reached {self.url}: send it again with python -m kelvin_probe.ship")

    def run(self):
        wait = PAUSE
        while True:
            closing = self._closing.is_set()
            try:
                if self._sent is None:
                    self._sent = self._create()
                more = self._send()
                wait = PAUSE
                if closing and not more:
                    return
                if more:
                    continue
            except Refused as e:
                self.say(f"{self.url} refuses {self.run_id}: {e}; records stay in {self.folder}")
                return
            except OSError:  # the server is away: urllib's errors are of this kind
                wait = min(2 * wait, 30.0)
            self._closing.wait(min(wait, 0.5) if closing else wait)
            if closing:
                time.sleep(0.2)

    def _create(self):
        with open(os.path.join(self.folder, "model.json"), "rb") as f:
            return self._ask("PUT", "/api/run", {"run": self.run_id}, f.read(), "application/json")

    def _send(self):
        """Sends one batch of whole lines; False when there is none."""
        with open(os.path.join(self.folder, "events.jsonl"), "rb") as f:
            f.seek(self._sent)
            lines = f.read(BATCH)
        lines = lines[:lines.rfind(b"\n") + 1]
        if not lines:
            return False
        query = {"run": self.run_id, "offset": self._sent}
        self._sent = self._ask("POST", "/api/records", query, lines, "application/x-ndjson")
        return True

    def _ask(self, method, path, query, body, kind):
        """The offset that the server answers with."""
        request = urllib.request.Request(self.url + path + "?" + urllib.parse.urlencode(query), body, {"Content-Type": kind}, method=method)
        if self.token:
            request.add_header("Authorization", "Bearer " + self.token)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)["offset"]
        except urllib.error.HTTPError as e:
            if e.code == 409:  # records before these are missing there
                return json.load(e)["offset"]
            if e.code in (404, 423, 429, 503) or e.code >= 500:  # it was emptied, or is busy
                self._sent = None
                raise OSError(str(e)) from None
            try:
                detail = json.load(e).get("detail", e.reason)
            except ValueError:
                detail = e.reason
            raise Refused(detail) from None


class Refused(Exception):
    """The server will not take these records, however often they are sent."""


if __name__ == "__main__":
    import sys
    if len(sys.argv) != 3:
        sys.exit("usage: python -m kelvin_probe.ship FOLDER URL   (the token in KELVIN_TOKEN)")
    Shipper(sys.argv[1], sys.argv[2]).close(3600)
