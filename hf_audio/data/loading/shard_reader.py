"""Shards of a feature dataset as `datasets` rows: in place where they are local files, or streamed.

`datasets` alone would read whatever stands there: by the card's settings, more columns than ours, addresses that it
opens as images. Here the columns, their types and the way they are packed are those that `build_features` writes, and
every row is checked as it is read.

`datasets` replaces `open`, `Path` and more in the module of a builder by its own, so this one has none of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from datasets import ArrowBasedBuilder, Dataset, DatasetInfo, IterableDataset, SplitGenerator
from datasets.builder import Key
from datasets.exceptions import DatasetGenerationError
from pyarrow import RecordBatch, Table

from hf_audio.data.foreign.rows import RowRules
from hf_audio.data.foreign.shards import checked_groups
from hf_audio.data.loading.values_in_place import placed, with_places
from hf_audio.errors import InputError


class ShardReader(ArrowBasedBuilder):
    """One split's rows.

    Args:
        split: its name.
        shards: what `open_shard` opens, in order.
        open_shard: gives the file of a shard; it goes to the processes that read.
        rules: what every row must keep.
        shard_windows: rows of each shard.
        num_bytes: of all shards.
        versions: of shards that are local files, one each: they change where a file does.
    """

    def __init__(
        self,
        split: str,
        shards: Sequence[str],
        open_shard: Callable[[str], BinaryIO],
        rules: RowRules,
        shard_windows: Sequence[int],
        num_bytes: int,
        versions: Sequence[str] = (),
    ) -> None:
        self.split, self.shards, self.open_shard, self.rules = split, list(shards), open_shard, rules
        self.shard_windows, self.num_bytes = dict(zip(self.shards, shard_windows, strict=True)), num_bytes
        self.files = tuple(zip(self.shards, versions, strict=True)) if versions else ()
        counts = map(str, shard_windows)
        identity = hashlib.sha256("\0".join((split, *shards, *counts, *versions, rules.digest)).encode()).hexdigest()
        super().__init__(dataset_name="hf_audio_places" if versions else "hf_audio_features", config_id=identity[:32])

    def local(self) -> Dataset:
        """All rows of local files, which stay where they are.

        They are read and checked once. What the cache of `datasets` then has of them, a hundredth of their size, are
        their small columns and the places of the large ones.

        Raises:
            InputError: a shard or a row that is not as it should be.
        """
        try:
            self.download_and_prepare()
        except DatasetGenerationError as error:
            if isinstance(error.__cause__, InputError):
                raise error.__cause__ from None
            raise
        places = self.as_dataset(self.split)
        info = DatasetInfo(features=with_places(self.rules.features, self.files))
        return Dataset(places.data, info=info, split=places.split)

    def streamed(self) -> IterableDataset:
        """The rows as they are read; errors come with the row that has them."""
        return self.as_streaming_dataset(self.split)

    def rows_from(self, shard: str, start: int) -> Iterator[RecordBatch]:
        """The rows of one shard from one of them on; row groups before that one are not read.

        Args:
            shard: one of `shards`.
            start: the row's place in it.

        Raises:
            InputError: see `local`.
        """
        with self.open_shard(shard) as file:
            for _, rows in checked_groups(file, shard, self.rules, self.shard_windows[shard], start):
                yield from rows.to_batches()

    def tables(self) -> Iterator[Table]:
        """The rows a piece at a time, without a cache.

        Raises:
            InputError: see `local`.
        """
        return (rows for _, rows in self._generate_tables(self.shards))

    def _info(self) -> DatasetInfo:
        features = self.rules.features
        return DatasetInfo(features=with_places(features) if self.files else features)

    def _split_generators(self, dl_manager: object) -> list[SplitGenerator]:
        return [SplitGenerator(name=self.split, gen_kwargs={"shards": self.shards})]

    def _generate_tables(self, shards: list[str]) -> Iterator[tuple[Key, Table]]:
        for number, shard in enumerate(shards):
            num_windows = self.shard_windows[shard]
            with self.open_shard(shard) as file:
                for group, (stored, rows) in enumerate(checked_groups(file, shard, self.rules, num_windows)):
                    yield (
                        Key(number, group),
                        placed(rows, stored, number, shard, self.info.features) if self.files else rows,
                    )
