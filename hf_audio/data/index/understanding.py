"""Describes how a user's folder or table was read, in one short paragraph that is logged before anything is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hf_audio.errors import InputError, printable

MAX_NAMED = 6


@dataclass(frozen=True)
class Understanding:
    """How a corpus was read. It lists everything that was not used, so that nothing is dropped silently.

    Attributes:
        layout: what was read, and how.
        class_counts: number of clips per class, by name.
        num_clips: number of clips in all classes; a clip of several classes counts once.
        groups: where groups come from.
        groups_known: whether all groups are known; otherwise some clips are their own group for lack of information.
        splits: where splits come from.
        not_used: files, folders and columns that have no effect, a phrase each.
        left_out: recordings that were left out although they are where recordings are expected, a phrase each.
        remarks: what looks like a mistake, a sentence each.
    """

    layout: str
    class_counts: dict[str, int]
    num_clips: int
    groups: str
    groups_known: bool
    splits: str
    not_used: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def paragraph(self) -> str:
        """All of it as one paragraph."""
        counts = [f"{name} {count:,}" for name, count in self.class_counts.items()]
        said = [
            f"Read {self.layout}: {self.num_clips:,} clips, {len(counts):,} classes ({some(counts, 12)}).",
            f"Groups: {self.groups}.",
            f"Splits: {self.splits}.",
        ]
        said += [f"Not used: {'; '.join(self.not_used)}."] if self.not_used else []
        said += [f"Left out: {'; '.join(self.left_out)}."] if self.left_out else []
        said += [f"Please note: {remark}." for remark in self.remarks]
        return printable(" ".join(said))

    def require_all_recordings(self) -> None:
        """Refuses a corpus if recordings were left out, for strict builds.

        Raises:
            InputError: recordings were left out.
        """
        if self.left_out:
            raise InputError(
                f"{'; '.join(self.left_out)}: move or remove what is not a recording, or leave out --strict"
            )


def some(names: Sequence[str], most: int = MAX_NAMED) -> str:
    """The first names of a list and the number of the others."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def counted(names: Sequence[str], one: str, several: str | None = None) -> str:
    """A number of things with their first names: "3 tables (a.csv, b.csv, c.csv)"."""
    return f"{len(names):,} {one if len(names) == 1 else several or one + 's'} ({some(names)})"
