"""What a feature dataset is made of: its version, the names of its shards, their columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasets import Audio, ClassLabel, Features, Image, List, Value

from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.recordings.opening import HIGHEST_RATE, LOWEST_RATE
from hf_audio.kinds import kind_of

FORMAT_VERSION = 2
MOST_CLIPS = 1 << 40
# Columns that hold the same value in many rows, and so store it once.
NAME_COLUMNS = ["clip_id", "group"]
# which hold classes; `feature_schema` says when each is there
LABEL_COLUMNS = ("labels", "unknown", "label")


def feature_schema(labels: LabelSpace, parameters: Mapping[str, Any], is_partial: bool = False) -> Features:
    """The columns of a feature dataset; names of the classes travel in it.

    Whoever reads the rows alone finds `label` where each clip has one class, and `unknown` where labels are partial:
    the classes of which nothing is known, so that they are not taken for absent.

    Args:
        labels: the classes.
        parameters: of the extractor.
        is_partial: whether something is unknown of some clip.
    """
    classes = ClassLabel(names=list(labels.names))
    return Features(
        {
            "clip_id": Value("string"),
            "group": Value("string"),
            "start_s": Value("float32"),
            **kind_of(parameters).columns(parameters["sampling_rate"]),
            "num_frames": Value("int32"),
            "labels": List(classes),
            **({"unknown": List(classes)} if is_partial else {}),
            **({} if labels.is_multi_label else {"label": classes}),
        }
    )


def undecoded(schema: Features) -> Features:
    """The same columns, of which `datasets` decodes none: pictures and sounds as their files' bytes.

    Whatever is stored beside the bytes, such as a path or an address, is then never opened.
    """
    file = {"bytes": Value("binary"), "path": Value("string")}
    return Features({name: file if isinstance(kind, Image | Audio) else kind for name, kind in schema.items()})


def shard_names(split: str, num_shards: int) -> list[str]:
    """Names of a split's files without suffix, as `datasets` finds splits by: train-00000-of-00008 ..."""
    return [f"{split}-{number:05d}-of-{num_shards:05d}" for number in range(num_shards)]


def are_rates(value: Any) -> bool:
    """Whether it is {sample rate in Hz, as text: clips}, as `source_rates` has it of a split."""
    return isinstance(value, dict) and all(
        rate.isascii()
        and rate.isdigit()
        and len(rate) <= len(str(HIGHEST_RATE))
        and LOWEST_RATE <= int(rate) <= HIGHEST_RATE
        and type(count) is int
        and 0 < count <= MOST_CLIPS
        for rate, count in value.items()
    )
