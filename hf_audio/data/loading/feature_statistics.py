"""Mean and standard deviation of features computed from stored sound: computed once, then stored with the dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import datasets
import numpy as np

from hf_audio.data.feature_format import SHARD_WINDOWS
from hf_audio.errors import InputError
from hf_audio.files import read_json, write_json
from hf_audio.finished_work import digest
from hf_audio.kinds import OfSound
from hf_audio.limits import STATISTICS, whole
from hf_audio.terminal import named_logger, progress

if TYPE_CHECKING:
    from hf_audio.data.loading.features_dataset import FeatureDataset

logger = named_logger(__name__)

FILE = "statistics.json"  # next to the manifest in a folder
CACHE = "hf_audio_statistics"  # in the cache of `datasets`, for datasets on the Hub
# 8 hours of 3 s windows, which take a minute on one core; more windows would not change the mean
MAX_WINDOWS = 10_000
WINDOWS_AT_A_TIME = 64
DECIMALS = 5  # one unit is 10 dB or less; rounding gives the same numbers on machines that add in another order


class Statistics(NamedTuple):
    """Mean and standard deviation of the train split's features.

    Attributes:
        mean, std: one number, or one per channel.
        num_windows: the number of windows that they were computed from.
    """

    mean: Any
    std: Any
    num_windows: int


def statistics_of(features: FeatureDataset, of_sound: OfSound) -> Statistics:
    """Statistics over the frames of training windows without padding; a large split is sampled evenly over its shards.

    Clips are stored in random order, so the first windows of a shard represent all of it. Results are stored, with a
    digest of everything that determines them, next to a folder's manifest or in the cache of `datasets`.

    Args:
        features: stored waveforms, local or streamed.
        of_sound: how features are computed from them.

    Raises:
        InputError: no train split, or a damaged row.
    """
    if "train" not in features.splits:
        raise InputError(
            f"{features.source} has no train split to compute the mean and standard deviation from: give "
            "--normalization none, or a dataset with one"
        )
    path, key = _kept_in(features), digest(_decides(features, of_sound).items())
    kept = _read(path)
    if key in kept and _is_sane(kept[key]):
        return Statistics(**kept[key])
    found = _measured(features, of_sound)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**kept, key: found._asdict()})
    except OSError as error:
        logger.warning(
            "Mean and standard deviation cannot be stored in %s (%s): they will be computed again next time",
            path,
            error,
        )
    return found


def chosen_windows(shard_windows: Sequence[int], max_windows: int = MAX_WINDOWS) -> list[int]:
    """The number of windows to read from each shard: all, or about `max_windows` spread evenly."""
    total = sum(shard_windows)
    return [count if total <= max_windows else -(-count * max_windows // total) for count in shard_windows]


def _decides(features: FeatureDataset, of_sound: OfSound) -> dict[str, Any]:
    manifest = features.manifest
    folder = Path(features.source).expanduser()
    shards = sorted((folder / "data").glob("train-*.parquet")) if folder.is_dir() else []
    return {
        "features": of_sound.source.parameters,
        "stored": of_sound.stored,
        "window_s": features.window_s,
        "train": [manifest["splits"]["train"], manifest[SHARD_WINDOWS]["train"]],
        "files": [[one.name, one.stat().st_size, one.stat().st_mtime_ns] for one in shards],
        "most": MAX_WINDOWS,
    }


def _kept_in(features: FeatureDataset) -> Path:
    folder = Path(features.source).expanduser()
    if folder.is_dir():
        return folder / FILE
    commit = features.index.parent.name  # a cached file is in a folder named after its commit
    return Path(datasets.config.HF_DATASETS_CACHE) / CACHE / f"{digest([features.source, commit])}.json"


def _read(path: Path) -> dict[str, Any]:
    """The stored results; nothing if the file is missing or damaged, because they can be computed again."""
    if not path.is_file():
        return {}
    try:
        return read_json(path)
    except InputError as error:
        logger.warning("%s; computing mean and standard deviation again", error)
        return {}


def _is_sane(kept: Any) -> bool:
    """Whether an entry of the file, which may be untrusted, is valid."""
    if not (isinstance(kept, dict) and kept.keys() == {*Statistics._fields}):
        return False
    mean, std, num_windows = (kept[name] for name in Statistics._fields)
    numbers = STATISTICS.holds(mean) and STATISTICS.holds(std) and np.shape(mean) == np.shape(std)
    return numbers and whole(1, MAX_WINDOWS * 2).holds(num_windows) and bool((np.ravel(std) > 0).all())


def _measured(features: FeatureDataset, of_sound: OfSound) -> Statistics:
    axis, counts = of_sound.statistics_axis, chosen_windows(features.manifest[SHARD_WINDOWS]["train"])

    def sums_of(row: dict[str, Any]) -> tuple[int, np.ndarray]:
        window = of_sound.decode(row)
        sums = np.stack([window.sum(axis, dtype=np.float64), np.square(window, dtype=np.float64).sum(axis)])
        return window.size // sums[0].size, sums

    rows, count, total = _rows(features, of_sound, counts), 0, np.zeros(())
    bar = progress(desc="mean and standard deviation", unit=" windows", total=sum(counts))
    with ThreadPoolExecutor() as threads, bar:  # libsndfile and torch release the GIL
        while some := list(islice(rows, WINDOWS_AT_A_TIME)):
            for size, sums in threads.map(sums_of, some):
                count, total = count + size, total + sums
            bar.update(len(some))
    mean, mean_square = total / count
    std = np.sqrt(np.maximum(mean_square - mean**2, 1e-8))
    if sum(counts) < features.num_windows("train"):
        logger.info(
            "Mean and standard deviation were computed from %d of %d training windows",
            *(sum(counts), features.num_windows("train")),
        )
    return Statistics(mean.round(DECIMALS).tolist(), std.round(DECIMALS).tolist(), sum(counts))


def _rows(features: FeatureDataset, of_sound: OfSound, counts: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The first rows of each shard, `counts` of them."""
    columns = ["clip_id", *of_sound.columns(0), "num_frames"]
    if features.streamed is None:
        starts = np.cumsum([0, *features.manifest[SHARD_WINDOWS]["train"][:-1]])
        places = np.concatenate([first + np.arange(count) for first, count in zip(starts, counts, strict=True)])
        yield from features.splits["train"].select(places).select_columns(columns)
        return
    for shard, count in zip(features.streamed.shards, counts, strict=True):
        for rows in features.streamed.rows_from(shard, 0):
            yield from rows.slice(0, count).select(columns).to_pylist()
            count -= min(count, len(rows))
            if not count:
                break
