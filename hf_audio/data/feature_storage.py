"""The columns of a feature dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasets import Audio, ClassLabel, Features, Image, List, Value

from hf_audio.data.labels import LabelSpace
from hf_audio.kinds import kind_of

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
