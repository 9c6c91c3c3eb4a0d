"""The columns of a feature dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasets import Audio, ClassLabel, Features, Image, List, Value

from hf_audio.data.labels import LabelSpace
from hf_audio.kinds import kind_of


def feature_schema(labels: LabelSpace, parameters: Mapping[str, Any]) -> Features:
    """The columns of a feature dataset; names of the classes travel in it.

    Args:
        labels: the classes.
        parameters: of the extractor.
    """
    return Features(
        {
            "clip_id": Value("string"),
            "group": Value("string"),
            "start_s": Value("float32"),
            **kind_of(parameters).columns(parameters["sampling_rate"]),
            "num_frames": Value("int32"),
            "labels": List(ClassLabel(names=list(labels.names))),
        }
    )


def undecoded(schema: Features) -> Features:
    """The same columns, of which `datasets` decodes none: pictures and sounds as their files' bytes.

    Whatever is stored beside the bytes, such as a path or an address, is then never opened.
    """
    file = {"bytes": Value("binary"), "path": Value("string")}
    return Features({name: file if isinstance(kind, Image | Audio) else kind for name, kind in schema.items()})
