"""Reading ahead: the next recordings come, over the network or unpacked, while the ones before them are decoded."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

LONGEST_END_S = 5.0  # for the item in the making where no more are taken; a request that hangs is not waited for

Item = TypeVar("Item")


def read_ahead(items: Iterator[Item], size_bytes: Callable[[Item], int], most_bytes: int) -> Iterator[Item]:
    """The same items in the same order, made by a thread of their own that is ahead of whoever takes them.

    Args:
        items: the thread alone uses it. What it raises is raised here, where its item would have come.
        size_bytes: what an item holds.
        most_bytes: of the items that wait; one more may be in the making.
    """
    waiting: _Waiting[Item] = _Waiting(most_bytes)

    def make() -> None:
        try:
            for item in items:
                if not waiting.put(item, size_bytes(item)):
                    return
            waiting.end(None)
        except BaseException as error:  # an interruption too is the taker's
            waiting.end(error)

    maker = threading.Thread(target=make, daemon=True)
    maker.start()
    try:
        yield from waiting
    finally:
        waiting.close()
        maker.join(LONGEST_END_S)


@dataclass
class _Waiting(Generic[Item]):
    """Items between two threads, of a limited size together."""

    most_bytes: int
    items: deque[tuple[Item, int]] = field(default_factory=deque)
    num_bytes: int = 0
    is_ended: bool = False
    is_closed: bool = False
    error: BaseException | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, item: Item, num_bytes: int) -> bool:
        """Adds an item once there is room; whether anybody still takes any."""
        with self.changed:
            self.changed.wait_for(lambda: self.num_bytes < self.most_bytes or self.is_closed)
            self.items.append((item, num_bytes))
            self.num_bytes += num_bytes
            self.changed.notify_all()
            return not self.is_closed

    def end(self, error: BaseException | None) -> None:
        """No item follows, perhaps because of an error."""
        with self.changed:
            self.is_ended, self.error = True, error
            self.changed.notify_all()

    def close(self) -> None:
        """Nobody takes any more."""
        with self.changed:
            self.is_closed = True
            self.items.clear()
            self.changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.items or self.is_ended)
                if not self.items:
                    break
                item, num_bytes = self.items.popleft()
                self.num_bytes -= num_bytes
                self.changed.notify_all()
            yield item
        if self.error is not None:
            raise self.error
