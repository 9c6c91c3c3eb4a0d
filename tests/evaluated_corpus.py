"""A small labeled corpus of changing sounds, and classifiers of its classes, for tests of evaluation."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import torch
from datasets import Audio, ClassLabel, Features, Value
from model_cases import cnn
from tagging_models import HOP_S, USAGE, WINDOW_S, changing_sound, save_classifier

from hf_audio.data.building.build import build_features
from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.files import read_json, write_json
from hf_audio.kinds import kind_of_extractor
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.models.saving import save_extractor, save_model
from hf_audio.models.usage import write_usage

CLASSES = ("bell", "hum", "violin")
DEVICES = ("phone", "studio")
DURATIONS_S = (0.3, 0.5, 1.1, 2.0)
ROWS = [
    (f"{name}-{number}.wav", name, f"{name}-{number // 2}", split)
    for name in CLASSES
    for number, split in enumerate(["train"] * 4 + ["validation"] * 2 + ["test"] * 4)
]


def write_corpus(folder: Path) -> Path:
    """Recordings of 0.3 to 2 s, and a table with path, label, group, split and device."""
    folder.mkdir(parents=True)
    with (folder / "table.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "group", "split", "device"])
        for number, (path, label, group, split) in enumerate(ROWS):
            (folder / path).write_bytes(recording(number))
            table.writerow([path, label, group, split, DEVICES[number % 2]])
    return folder


def recording(number: int) -> bytes:
    """The bytes of one recording, a WAV file of floats at 16 kHz."""
    file = io.BytesIO()
    sound = changing_sound(DURATIONS_S[number % 4], seed=number)
    soundfile.write(file, sound, 16_000, subtype="FLOAT", format="WAV")
    return file.getvalue()


def build_corpus_features(corpus: Path, folder: Path) -> Path:
    """Features of the corpus for models that read LOG_MEL_WINDOWS."""
    clips = [
        Clip(corpus / path, (label,), group, path, split=split, metadata={"device": DEVICES[number % 2]})
        for number, (path, label, group, split) in enumerate(ROWS)
    ]
    index = index_of(clips)
    card = CorpusCard("Sounds", "CC0 1.0", may_redistribute=True)
    cut = {"window_s": WINDOW_S, "hop_s": HOP_S}
    return build_features(index, LabelSpace.of_clips(index), folder, KaldiFbank(num_mel_bins=32), card=card, **cut)


def save_evaluated(
    folder: Path, features: Path, problem_type: str = MULTI_LABEL, names: Sequence[str] | None = None
) -> Path:
    """A classifier of four classes, three of them those of the corpus, saved as after training on its features.

    Args:
        names: other names for its classes.
    """
    if names:
        torch.manual_seed(3)
        folder.mkdir()
        save_model(cnn(LabelSpace(tuple(names), problem_type)).eval(), folder)
        write_usage(folder, USAGE)
    else:
        save_classifier(folder, "cnn", problem_type)
    extractor = load_features(features).extractor
    save_extractor(extractor, folder)
    config = read_json(folder / "config.json")
    write_json(
        folder / "config.json", {**config, "padding_value": kind_of_extractor(extractor).padding_value(extractor)}
    )
    return folder


def as_dataset_files() -> dict[str, bytes]:
    """The test split as a Hub dataset: Parquet with an Audio column."""
    rows = [(number, row) for number, row in enumerate(ROWS) if row[3] == "test"]
    types = {"audio": Audio(), "label": ClassLabel(names=list(CLASSES)), "speaker_id": Value("string")}
    table = pa.table(
        {
            "audio": [{"bytes": recording(number), "path": row[0]} for number, row in rows],
            "label": [CLASSES.index(row[1]) for _, row in rows],
            "speaker_id": [row[2] for _, row in rows],
        },
        Features(types).arrow_schema,
    )
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=4)
    return {"data/test-00000-of-00001.parquet": file.getvalue()}


def nan_weights(folder: Path) -> Path:
    """Makes the logits of a saved model NaN."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.startswith("classifier") and name.endswith("bias"))
    weights[name] = np.full_like(weights[name], np.nan)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
