"""Shards of a feature dataset as `datasets` rows: local files are read in place, others are streamed.

Plain `datasets` would read anything: settings of the card, columns that are not ours, addresses that it opens as
images. Here only the columns, types and encodings that `build_features` writes are accepted, and every row is checked
when it is read.

`datasets` patches `open`, `Path` and more in the module of a builder, so this module uses none of them.
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
    """Reads the rows of one split.

    Args:
        split: the name of the split.
        shards: names for `open_shard`, in order.
        open_shard: opens a shard; it is pickled for the processes that read.
        rules: the rules for every row.
        shard_windows: number of rows of each shard.
        num_bytes: total size of the shards.
        versions: the `file_version` of each shard, if shards are local files.
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
        """All rows of local files, without copying large values.

        They are read and checked once. The cache of `datasets` then has the small columns and the places of large
        values, about a hundredth of the size.

        Raises:
            InputError: a damaged shard or row.
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
        """The rows, read one after the other; an error is raised at the faulty row."""
        return self.as_streaming_dataset(self.split)

    def rows_from(self, shard: str, start: int) -> Iterator[RecordBatch]:
        """The rows of one shard, starting at one of them; row groups before it are not read.

        Args:
            shard: one of `shards`.
            start: number of the first row.

        Raises:
            InputError: see `local`.
        """
        with self.open_shard(shard) as file:
            for _, rows in checked_groups(file, shard, self.rules, self.shard_windows[shard], start):
                yield from rows.to_batches()

    def tables(self) -> Iterator[Table]:
        """The rows, one row group at a time, without a cache.

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
