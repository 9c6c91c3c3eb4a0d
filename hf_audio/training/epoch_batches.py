"""Which windows each process reads: an epoch has one order of all windows, whatever the number of processes.

    order of an epoch   0 1 2 3 4 5 6 7 8 9 A B C D E F ...      depends only on seed and epoch
    global batch        the windows of one optimizer step: batch_size x accumulation x world_size windows in a row
    micro-batch         batch_size of them per process, in turns:  rank 0 | rank 1 | rank 0 | rank 1 ...

So a step of two processes has the same windows as a step of one process with twice the batch size or accumulation. The
last micro-batches of an epoch are padded with windows from its beginning, so that all have the same size (another
size would trigger recompilation) and no process waits for another. Padding windows are computed, but do not count in
the loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import datasets
import numpy as np
import torch
from torch.utils.data import Sampler
from transformers import TrainingArguments

from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.data.loading.streaming import StreamedWindows, max_workers
from hf_audio.errors import InputError
from hf_audio.training.balanced_order import balanced_order


@dataclass(frozen=True)
class Share:
    """A micro-batch's part of its step.

    Attributes:
        places: places of its windows in the step's global batch.
        num_counted: number of its first windows that count.
        num_in_step: number of windows that count in the step, over all micro-batches and processes.
    """

    places: range
    num_counted: int
    num_in_step: int


@dataclass(frozen=True)
class BatchLayout:
    """How an epoch's windows are divided into steps, micro-batches and processes.

    Attributes:
        num_windows: windows per epoch, over all processes.
        batch_size: windows per micro-batch of one process.
        accumulation: micro-batches per step of one process.
        rank, world_size: rank of this process, and number of processes.
        drop_last: discard windows that do not fill a micro-batch of all processes.
    """

    num_windows: int
    batch_size: int
    accumulation: int = 1
    rank: int = 0
    world_size: int = 1
    drop_last: bool = False

    @property
    def across(self) -> int:
        """Windows of one micro-batch over all processes."""
        return self.batch_size * self.world_size

    @property
    def num_micro_batches(self) -> int:
        """Micro-batches of one process per epoch."""
        whole = self.num_windows / self.across
        return math.floor(whole) if self.drop_last else math.ceil(whole)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps per epoch; the last one may have fewer micro-batches."""
        return max(1, math.ceil(self.num_micro_batches / self.accumulation))

    def share(self, step: int, micro_batch: int) -> Share:
        """The part of a micro-batch in an optimizer step, both counted from 0; steps are counted over all epochs."""
        global_batch = self.across * self.accumulation
        before = step % self.steps_per_epoch * global_batch  # windows of earlier steps of the epoch
        usable = self.num_micro_batches * self.across if self.drop_last else self.num_windows
        first = self.across * micro_batch + self.batch_size * self.rank
        num_counted = min(max(usable - before - first, 0), self.batch_size)
        return Share(range(first, first + self.batch_size), num_counted, min(usable - before, global_batch))


class EpochBatches(Sampler[list[int]]):
    """The rows of one process's micro-batches, epoch by epoch; for a DataLoader's `batch_sampler`.

    Args:
        layout: layout of the epoch.
        seed: seed of the order; None keeps windows in stored order.
        shares: how often each window is drawn, see `window_shares`; None draws each once.
    """

    def __init__(self, layout: BatchLayout, seed: int | None, shares: np.ndarray | None = None) -> None:
        self.layout, self.seed, self.shares, self.epoch = layout, seed, shares, 0

    def __len__(self) -> int:
        return self.layout.num_micro_batches

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, which determines the order; Trainer calls it before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        layout = self.layout
        order = np.resize(self._order(), layout.num_micro_batches * layout.across)  # starts over if it is too short
        for first in range(layout.rank * layout.batch_size, len(order), layout.across):
            yield order[first : first + layout.batch_size].tolist()

    def _order(self) -> np.ndarray:
        if self.seed is None:
            return np.arange(self.layout.num_windows)
        if self.shares is not None:
            return balanced_order(self.shares, np.random.default_rng((self.seed, self.epoch)))
        seed = int(np.random.SeedSequence((self.seed, self.epoch)).generate_state(1, np.uint64)[0]) & (2**63 - 1)
        return torch.randperm(self.layout.num_windows, generator=torch.Generator().manual_seed(seed)).numpy()


def train_windows(features: FeatureDataset, args: TrainingArguments) -> datasets.Dataset | StreamedWindows:
    """The train split of a process: rows by number, or its share of a stream.

    Raises:
        InputError: settings that only work for a local split are used for a stream.
    """
    if features.streamed is None:
        return features.splits["train"]
    if args.dataloader_drop_last or args.train_sampling_strategy != "random":
        raise InputError(
            "A stream is read in batches of the same size and in random order: use --streaming false, or leave out "
            "--dataloader_drop_last and --train_sampling_strategy"
        )
    return StreamedWindows(
        features.streamed,
        args.train_batch_size,
        rank=args.process_index,
        world_size=args.world_size,
        num_workers=min(args.dataloader_num_workers, max_workers(features.streamed, args.world_size)),
        seed=args.data_seed,
    )


def layout_of(windows: datasets.Dataset | StreamedWindows, args: TrainingArguments) -> BatchLayout:
    """How the epochs of a run are divided.

    Raises:
        InputError: no windows would be left.
    """
    layout = BatchLayout(
        len(windows),
        args.train_batch_size,
        args.gradient_accumulation_steps,
        args.process_index,
        args.world_size,
        args.dataloader_drop_last,
    )
    if layout.num_micro_batches < 1:
        raise InputError(
            f"{len(windows)} training windows do not fill a batch of {layout.across}, and --dataloader_drop_last "
            "discards incomplete batches: leave it out, or use a smaller --per_device_train_batch_size"
        )
    return layout
