"""Second step of building from pieces: the usual shards, assembled from windows that are already computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hf_audio.data.building.piece_rows import PieceReader
from hf_audio.data.building.pieces import ClipFacts
from hf_audio.data.building.plan import Shard
from hf_audio.data.building.shards import ShardBuilder, ShardClips
from hf_audio.data.index.table import rows_of
from hf_audio.kinds import kind_of


@dataclass(frozen=True)
class GatheredShard(Shard):
    """A shard, and the locations of its clips' windows.

    Attributes:
        paths: the file of each clip's piece.
        ends: by path, the rows at which the batches of a piece end.
        first, number: first row of each clip's windows in its piece, and their number.
        excluded: {position in the shard: why a clip is left out}.
    """

    paths: list[Path]
    ends: dict[Path, np.ndarray]
    first: np.ndarray
    number: np.ndarray
    excluded: dict[int, str]


@dataclass(frozen=True)
class ShardGatherer(ShardBuilder):
    """Builds shards from pieces."""

    def _fill(  # type: ignore[override]  # it only gets the shards of `gathered_shards`
        self, rows: ShardClips, shard: GatheredShard, unusable: Mapping[str, str], report: Callable[[int], object]
    ) -> None:
        extractor = self.maker.extractor
        with closing(PieceReader(kind_of(extractor.parameters), extractor.sample_rate)) as pieces:
            for place, clip in enumerate(rows_of(shard.clips)):
                if place in shard.excluded:
                    rows.exclude(clip, shard.excluded[place])
                else:
                    rows.begin(clip)
                    path, first, number = shard.paths[place], int(shard.first[place]), int(shard.number[place])
                    for window in pieces.windows(path, shard.ends[path], first, number):
                        rows.add(clip, window)
                report(1)


def gathered_shards(
    shards: Iterable[tuple[Shard, np.ndarray]], facts: ClipFacts, paths: Sequence[Path]
) -> Iterator[GatheredShard]:
    """Shards with the locations of their windows.

    Args:
        shards: each with its rows of the index.
        facts: facts about the clips of the index.
        paths: the files of the pieces.
    """
    for shard, rows in shards:
        numbers = facts.piece[rows].tolist()
        excluded = {place: facts.excluded[row] for place, row in enumerate(rows.tolist()) if row in facts.excluded}
        ends = {paths[number]: facts.ends[number] for number in sorted(set(numbers))}
        own = (shard.name, shard.split, shard.clips)
        its_paths = [paths[number] for number in numbers]
        yield GatheredShard(*own, its_paths, ends, facts.first[rows], facts.number[rows], excluded)
