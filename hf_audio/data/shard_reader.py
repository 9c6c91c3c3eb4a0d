"""Shards of a feature dataset as `datasets` rows: into the local cache, or streamed.

`datasets` alone would read whatever stands there: by the card's settings, more columns than ours, addresses that it
opens as pictures. Here the columns, their types and the way they are packed are those that `build_features` writes, and
every row is checked while it passes by.

`datasets` replaces `open`, `Path` and more in the module of a builder by its own, so this one has none of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from datasets import ArrowBasedBuilder, Dataset, DatasetInfo, IterableDataset, SplitGenerator
from datasets.builder import Key
from datasets.exceptions import DatasetGenerationError
from pyarrow import Table

from hf_audio.data.foreign_rows import RowRules
from hf_audio.data.foreign_shards import checked_groups
from hf_audio.errors import InputError


class ShardReader(ArrowBasedBuilder):
    """One split's rows.

    Args:
        split: its name.
        shards: what `open_shard` opens, in order.
        open_shard: gives the file of a shard; it goes to the processes that read.
        rules: what every row must keep.
        version: changes where a shard does, so that a copy in the cache is not taken for another.
    """

    def __init__(
        self, split: str, shards: Sequence[str], open_shard: Callable[[str], BinaryIO], rules: RowRules, version: str
    ) -> None:
        self.split, self.shards, self.open_shard, self.rules = split, list(shards), open_shard, rules
        identity = hashlib.sha256("\0".join((split, *shards, version, rules.digest)).encode()).hexdigest()
        super().__init__(dataset_name="hf_audio_features", config_id=identity[:32])

    def local(self) -> Dataset:
        """All rows, once they are in the cache of `datasets`.

        Raises:
            InputError: a shard or a row that is not as it should be.
        """
        try:
            self.download_and_prepare()
        except DatasetGenerationError as error:
            if isinstance(error.__cause__, InputError):
                raise error.__cause__ from None
            raise
        return self.as_dataset(self.split)

    def streamed(self) -> IterableDataset:
        """The rows as they are read; errors come with the row that has them."""
        return self.as_streaming_dataset(self.split)

    def tables(self) -> Iterator[Table]:
        """The rows a piece at a time, without a cache.

        Raises:
            InputError: see `local`.
        """
        return (rows for _, rows in self._generate_tables(self.shards))

    def _info(self) -> DatasetInfo:
        return DatasetInfo(features=self.rules.features)

    def _split_generators(self, dl_manager: object) -> list[SplitGenerator]:
        return [SplitGenerator(name=self.split, gen_kwargs={"shards": self.shards})]

    def _generate_tables(self, shards: list[str]) -> Iterator[tuple[Key, Table]]:
        for number, shard in enumerate(shards):
            with self.open_shard(shard) as file:
                for group, rows in enumerate(checked_groups(file, shard, self.rules)):
                    yield Key(number, group), rows
