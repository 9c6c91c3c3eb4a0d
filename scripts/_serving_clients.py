"""Clients of a service, in a process of their own, for benchmark_serving.py: each sends a file again and again.

    python scripts/_serving_clients.py HOST PORT FILE NUM_CLIENTS SECONDS

Prints JSON: seconds of each answer, in order of their ends, and answers that were not 200 by their status.
"""

from __future__ import annotations

import collections
import http.client
import json
import sys
import threading
import time
from pathlib import Path

PATH = "/v1/audio-classification"


def client(address: tuple[str, int], content: bytes, until: float, found: list[float], errors: collections.Counter):
    """Asks until the time is over, over one connection."""
    connection = http.client.HTTPConnection(*address, timeout=120)
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            connection.request("POST", PATH, content, {"Content-Type": "audio/wav"})
            answer = connection.getresponse()
            answer.read()
        except OSError as error:
            errors[type(error).__name__] += 1
            connection.close()
            continue
        if answer.status == 200:
            found.append(time.monotonic() - began)
        else:
            errors[str(answer.status)] += 1
    connection.close()


def main() -> None:
    host, port, file, num_clients, seconds = sys.argv[1:]
    found, errors = [], collections.Counter()
    arguments = ((host, int(port)), Path(file).read_bytes(), time.monotonic() + float(seconds), found, errors)
    threads = [threading.Thread(target=client, args=arguments) for _ in range(int(num_clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"seconds": found, "errors": errors}))


if __name__ == "__main__":
    main()
