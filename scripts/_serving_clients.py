"""Clients of a service in their own process, for benchmark_serving.py: each sends a file repeatedly.

    python scripts/_serving_clients.py HOST PORT FILE NUM_CLIENTS SECONDS          each request follows the last answer
    python scripts/_serving_clients.py HOST PORT FILE NUM_CLIENTS SECONDS RATE     RATE requests per second, at random

Random requests are Poisson arrivals: they do not depend on earlier answers, and the wait for a free client counts.
Prints JSON: the seconds of each answer, and the numbers of statuses other than 200.
"""

from __future__ import annotations

import collections
import http.client
import itertools
import json
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PATH = "/v1/audio-classification"


def at_once(until: float) -> Iterator[float]:
    """Request times: as soon as a client is free."""
    while (now := time.monotonic()) < until:
        yield now


def at_random(rate: float, until: float) -> Iterator[float]:
    """Request times: `rate` per second on average, independent of each other."""
    draw, at = random.Random(0), time.monotonic()
    while (at := at + draw.expovariate(rate)) < until:
        yield at


def client(address: tuple[str, int], content: bytes, times: Iterator[float], found: list, errors: collections.Counter):
    """Sends requests at the given times, over one connection."""
    connection = http.client.HTTPConnection(*address, timeout=120)
    for at in times:
        time.sleep(max(0.0, at - time.monotonic()))
        try:
            connection.request("POST", PATH, content, {"Content-Type": "audio/wav"})
            answer = connection.getresponse()
            answer.read()
        except OSError as error:
            errors[type(error).__name__] += 1
            connection.close()
            continue
        if answer.status == 200:
            found.append(time.monotonic() - at)
        else:
            errors[str(answer.status)] += 1
    connection.close()


class Shared:
    """Request times shared by clients, each of which takes the next one."""

    def __init__(self, times: Iterator[float]) -> None:
        self._times, self._lock = times, threading.Lock()

    def __iter__(self) -> Iterator[float]:
        return self

    def __next__(self) -> float:
        with self._lock:
            return next(self._times)


def main() -> None:
    host, port, file, num_clients, seconds, *rate = sys.argv[1:]
    found, errors, until = [], collections.Counter(), time.monotonic() + float(seconds)
    if rate:
        each = itertools.repeat(Shared(at_random(float(rate[0]), until)), int(num_clients))
    else:
        each = (at_once(until) for _ in range(int(num_clients)))
    given = (host, int(port)), Path(file).read_bytes()
    threads = [threading.Thread(target=client, args=(*given, times, found, errors)) for times in each]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"seconds": found, "errors": errors}))


if __name__ == "__main__":
    main()
