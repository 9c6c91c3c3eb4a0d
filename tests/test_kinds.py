"""A kind of feature is one module: the four that exist, and a toy that this file adds and takes as far as a run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import List, Value, load_dataset
from small_features import build_small_features
from transformers import BatchFeature, SequenceFeatureExtractor, WhisperFeatureExtractor

from hf_audio.analysis.data_figures import draw_features
from hf_audio.baselines import linear_scores
from hf_audio.classical_models.window_vectors import VectorReader
from hf_audio.config import FeatureConfig
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.loading.feature_table import features_to_csv
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError
from hf_audio.kinds import KINDS, CardText, Form, Kind, WindowExtractor, kind_named, kind_of, kind_of_extractor
from hf_audio.limits import FIELDS
from hf_audio.models import build_model
from hf_audio.preparation import window_extractor
from hf_audio.publishing.dataset_card import write_dataset_card
from hf_audio.windows import cut_windows

FRAME_S, FLOOR = 0.05, 1e-6
PACKAGE = Path(__file__).parents[1] / "hf_audio"


# The one module of a new kind: the published extractor, what makes windows, and the kind itself


class LoudnessExtractor(SequenceFeatureExtractor):
    model_input_names = ["input_values"]  # noqa: RUF012 - as the stock extractors have it

    def __init__(
        self, feature_size=1, sampling_rate=16_000, padding_value=0.0, num_steps=None, mean=None, std=None, **kwargs
    ):
        super().__init__(feature_size, sampling_rate, padding_value, **kwargs)
        self.num_steps, self.mean, self.std = num_steps, mean, std

    def __call__(self, waveforms, sampling_rate=None, return_tensors=None, **kwargs):
        values = self.standardize([loudness_db(waveform, self.sampling_rate) for waveform in waveforms])
        return BatchFeature({"input_values": values}, tensor_type=return_tensors)

    def standardize(self, windows):
        batch = np.full((len(windows), self.num_steps, 1), self.padding_value, dtype=np.float32)
        for row, window in zip(batch, windows, strict=True):
            row[: len(window)] = (window[: self.num_steps] - np.float32(self.mean)) / np.float32(self.std)
        return batch


def loudness_db(waveform: np.ndarray, rate: int) -> np.ndarray:
    size = round(FRAME_S * rate)
    frames = waveform[: len(waveform) // size * size].reshape(-1, size)
    return (10 * np.log10((frames**2).mean(axis=1, keepdims=True) + FLOOR)).astype(np.float32)


@dataclass(frozen=True)
class LoudnessFrames:
    sample_rate: int = 16_000

    times_real_time = 2000.0
    is_stereo = False
    slow_imports = ()

    @property
    def frame_samples(self) -> int:
        return round(FRAME_S * self.sample_rate)

    hop_samples = frame_samples

    @property
    def parameters(self) -> dict[str, Any]:
        return {"kind": "loudness", "sampling_rate": self.sample_rate}

    def window_frames(self, window_s: float) -> int:
        return round(window_s * self.sample_rate) // self.frame_samples

    def window_samples(self, window_s: float, hop_s: float) -> tuple[int, int]:
        return self.window_frames(window_s) * self.frame_samples, round(hop_s / FRAME_S) * self.frame_samples

    def windows(self, waveforms, window_s: float, hop_s: float) -> Iterator[Iterator[tuple[float, np.ndarray]]]:
        for waveform in waveforms:
            cut = cut_windows(
                loudness_db(waveform, self.sample_rate), self.window_frames(window_s), round(hop_s / FRAME_S)
            )
            yield ((start * FRAME_S, window) for start, window in cut)

    def to_feature_extractor(self, max_length: int, mean: Any, std: Any) -> LoudnessExtractor:
        return LoudnessExtractor(sampling_rate=self.sample_rate, num_steps=max_length, mean=mean, std=std)


class Loudness(Kind):
    name = "loudness"
    form = Form.VECTORS
    described = "loudness over time"
    extractor = LoudnessFrames
    published = (LoudnessExtractor,)
    compared = ("sampling_rate",)
    statistics_axis = 0
    limits = {"sampling_rate": FIELDS["sampling_rate"]}  # noqa: RUF012
    card = CardText(
        title="loudness",
        tags=("loudness",),
        heard="the loudness of windows",
        row="its features one number every 0.05 s",
        library="numpy",
        imports="import numpy as np\nfrom datasets import load_dataset",
        code='row = next(iter(rows))\nloudness = np.array(row["loudness"])  # [frames]',
        values="Values are in dB at {{ extractor.sampling_rate }} Hz.",
        columns="| `loudness` | in dB |\n| `num_frames` | frames of the window |",
    )

    def columns(self, sample_rate: int) -> dict[str, Any]:
        return {"loudness": List(Value("float32"))}

    def encode(self, window: np.ndarray, sample_rate: int) -> tuple:
        return (window[:, 0],)

    def faults(self, rows: pa.RecordBatch, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
        lengths = rows["loudness"].value_lengths().to_numpy()
        return {"another number of values than num_frames": lengths != rows["num_frames"].to_numpy()}

    def decode(self, row: Mapping[str, Any]) -> np.ndarray:
        return np.asarray(row["loudness"], dtype=np.float32)[:, None]

    def window_shape(self, window_s: float, parameters: Mapping[str, Any]) -> tuple[int, int]:
        return LoudnessFrames(parameters["sampling_rate"]).window_frames(window_s), 1

    def batch(self, rows: Sequence[Mapping[str, Any]], extractor: LoudnessExtractor) -> dict[str, torch.Tensor]:
        return {"input_values": torch.from_numpy(extractor.standardize([self.decode(row) for row in rows]))}

    def frame_s(self, manifest: Mapping[str, Any]) -> float:
        return FRAME_S

    def feature_names(self, parameters: Mapping[str, Any]) -> Sequence[str]:
        return ("loudness_db",)


# Its one test


@pytest.fixture
def loudness(monkeypatch) -> Kind:
    kind = Loudness()
    monkeypatch.setitem(KINDS, kind.name, kind)
    return kind


def test_a_new_kind_needs_one_module(loudness, tmp_path):
    extractor = window_extractor(FeatureConfig(features="loudness", sample_rate=8000))
    assert extractor == LoudnessFrames(8000)
    with pytest.raises(InputError, match="--num_mel_bins is for fbank or spectrogram features, but these are loudness"):
        window_extractor(FeatureConfig(features="loudness", num_mel_bins=64))

    folder = build_small_features(tmp_path / "f", extractor=extractor)
    features = load_features(folder)
    assert features.kind is loudness and features.window_frames == 20 and type(features.extractor) is LoudnessExtractor
    rows = list(features.splits["train"])
    batch = FeatureCollator(features.extractor, features.labels)(rows)
    assert batch["input_values"].shape == (24, 20, 1) and batch["input_values"].mean().abs() < 1e-4
    streamed = load_features(folder, streaming=True)
    assert next(iter(streamed.splits["train"])) == rows[0]
    assert build_model("mlp", features)(batch["input_values"]).logits.shape == (24, 3)
    with pytest.raises(InputError, match="cnn needs fbank or spectrogram features, but these are loudness: use"):
        build_model("cnn", features)

    assert VectorReader(features).vectors("test").inputs.shape == (6, 1)
    assert len(linear_scores(features, ["test"])["test"]) == 3
    table = features_to_csv(folder, tmp_path / "table.csv").read_text().splitlines()
    assert table[0].endswith("labels,loudness_db") and len(table) == 1 + 36 * 20
    card = write_dataset_card(folder, "someone/loud").read_text()
    assert "# Tones: loudness" in card and "- loudness\n" in card and "| `loudness` | in dB |" in card
    assert "| `loudness_db` |" not in card and "Values are in dB at 8000 Hz." in card
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    names: dict[str, Any] = {"load_dataset": load_dataset}
    exec(code.replace('"someone/loud"', repr(str(folder))), names)
    np.testing.assert_array_equal(names["loudness"], rows[0]["loudness"])
    assert (folder / "plots" / "windows.png").stat().st_size > 1000
    assert "windows.png" in draw_features(features, tmp_path / "drawn", projections=()).read_text()


def test_a_row_of_a_kind_that_breaks_its_rules_is_refused(loudness, tmp_path, monkeypatch):
    folder = build_small_features(tmp_path / "f", extractor=LoudnessFrames())
    monkeypatch.setattr(Loudness, "encode", lambda self, window, sample_rate: (window[1:, 0],))
    broken = build_small_features(tmp_path / "g", extractor=LoudnessFrames())
    assert load_features(folder)
    with pytest.raises(InputError, match="has another number of values than num_frames"):
        load_features(broken)


# The rules that make this possible


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_found_by_name_parameters_and_extractor(name):
    kind = KINDS[name]
    extractor: WindowExtractor = kind.extractor()
    assert name == kind.name and kind_of(extractor.parameters) is kind is kind_named(name)
    published = extractor.to_feature_extractor(98, 0.0, 1.0)
    assert type(published) is kind.published_class(extractor.parameters)
    assert all(kind_of_extractor(one()) is kind for one in kind.published)


@pytest.mark.parametrize("name", KINDS)
def test_every_parameter_in_a_manifest_has_a_limit(name):
    parameters = KINDS[name].extractor().parameters
    assert parameters.keys() - {"kind"} == KINDS[name].limits.keys()


def test_extractors_of_models_read_waveforms_and_unknown_kinds_are_named():
    assert kind_of_extractor(WhisperFeatureExtractor()) is KINDS["waveform"]
    with pytest.raises(InputError, match="Unknown kind of features 'fbanks': did you mean 'fbank'"):
        kind_of({"kind": "fbanks"})


def test_no_code_branches_on_the_name_of_a_kind():
    names = "|".join(KINDS)
    branch = re.compile(rf"kind(\.name)?\s*(==|!=|in|not in)\s*[(\[]?[\"']({names})|[\"']({names})[\"']\s*(==|!=)")
    files = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".md") and path.parent.name != "kinds"]
    assert [path.name for path in files if branch.search(path.read_text())] == []


def test_the_normalization_formula_is_written_once():
    """Stored values become inputs through `normalized`; published extractors stand alone and have their own copy."""

    def is_formula(node: ast.AST) -> bool:
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("sub", "sub_", "subtract"):
            return "mean" in ast.unparse(node)
        quotient = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.left, ast.BinOp)
        return quotient and isinstance(node.left.op, ast.Sub) and "mean" in ast.unparse(node.left.right)

    asked = [path for folder in ("kinds", "augment", "training", "data") for path in (PACKAGE / folder).rglob("*.py")]
    found = [path.name for path in asked for node in ast.walk(ast.parse(path.read_text())) if is_formula(node)]
    assert found == ["_kind.py"]
