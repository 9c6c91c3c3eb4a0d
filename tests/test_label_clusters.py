"""One label for two sounds: separated with another corpus, written as corrections, then built and trained on."""

from __future__ import annotations

import csv
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hf_audio import (
    DataConfig,
    FeatureConfig,
    InputError,
    build_corpus_features,
    find_label_errors,
    load_features,
    subdivide_label,
)
from hf_audio.label_quality.clusters import write_subdivide_label

ROOT = Path(__file__).parents[1]
SAMPLE_RATE = 16_000
HARMONICS = {"soft": [1.0], "bright": [1 / number for number in range(1, 13)]}
QUICK = ("--max_steps", "2", "--per_device_train_batch_size", "4", "--report_to", "none", "--num_workers", "1")


def timbre(kind: str, seed: int, level: float = 0.2) -> np.ndarray:
    """Half a second of a tone of random pitch, with few or many harmonics, in noise."""
    random = np.random.default_rng(seed)
    time_s = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    pitch_hz = random.uniform(180, 320)
    sound = sum(
        share * np.sin(2 * np.pi * pitch_hz * number * time_s) for number, share in enumerate(HARMONICS[kind], start=1)
    )
    return level * sound + 0.01 * random.standard_normal(len(time_s))


def build(folder: Path, rows: list[str], columns: str, **settings) -> Path:
    (folder / "labels.csv").write_text(columns + "\n" + "\n".join(rows))
    data = DataConfig(data_dir=str(folder), validation_fraction=0.0, num_workers=1, **settings)
    return build_corpus_features(data, folder / "features")


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    """Clips of both kinds under their own names."""
    folder, rows = tmp_path_factory.mktemp("reference"), []
    for number in range(40):
        kind = ("soft", "bright")[number % 2]
        soundfile.write(folder / f"{number}.wav", timbre(kind, 1000 + number, 0.15), SAMPLE_RATE)
        rows.append(f"{number}.wav,{'nylon' if kind == 'soft' else 'steel'},g{number // 4}-{number % 2}")
    return build(folder, rows, "path,label,group")


def guitars(folder: Path, column: str) -> tuple[Path, dict[str, str]]:
    """A corpus in which both kinds are called guitar, and the true kind of each clip."""
    rows, kinds = [], {}
    for number in range(90):
        kind = ("soft", "bright", "drum")[number % 3]
        noise = 0.2 * np.random.default_rng(number).standard_normal(SAMPLE_RATE // 2)
        soundfile.write(folder / f"{number}.wav", noise if kind == "drum" else timbre(kind, number), SAMPLE_RATE)
        name = "drum" if kind == "drum" else "guitar"
        kinds[f"{number}.wav"] = kind
        rows.append(f"{number}.wav,{name},{'test' if number % 10 < 2 else 'train'}")
    if column == "labels":
        soundfile.write(folder / "silence.wav", 1e-3 * np.random.default_rng(0).standard_normal(8000), SAMPLE_RATE)
        rows.append("silence.wav,,train")
    return build(folder, rows, f"path,{column},split"), kinds


@pytest.mark.parametrize("column", ["label", "labels"])
def test_split_rebuild_and_train(column, reference, tmp_path, monkeypatch):
    folder, kinds = guitars(tmp_path, column)
    features = load_features(folder)
    into = ["acoustic guitar", "electric guitar"]
    found = subdivide_label(
        features, "guitar", load_features(reference), into, reference_labels=["nylon", "steel"], keep=0.6
    )
    expected = [("soft", "bright").index(kinds[clip_id]) for clip_id in found.clips.clip_ids]
    assert (found.clusters == expected).mean() > 0.95, "the clusters have the names of the reference's classes"
    assert found.accuracy > 0.9 and found.chance == 0.5 and "correctly" in found.verdict()
    assert found.kept.sum() == pytest.approx(36, abs=2)
    assert found.margins[found.kept].min() >= 0 and found.margins.max() <= 1

    path = write_subdivide_label(found, features, tmp_path / "split" / "overrides.csv")
    monkeypatch.chdir(tmp_path)
    flags = ["--data_dir", str(tmp_path / "labels.csv"), "--label_overrides", str(path), "--output_dir", "run"]
    monkeypatch.setattr(sys, "argv", ["recipes/cnn_folder.py", *flags, *QUICK])
    runpy.run_path(str(ROOT / "recipes" / "cnn_folder.py"), run_name="__main__")
    assert (tmp_path / "run" / "model.safetensors").is_file()
    trained = load_features(tmp_path / "run" / "features")
    assert trained.labels.names == ("drum", *into)
    by_network = subdivide_label(
        features, "guitar", load_features(reference), into, reference_labels=["nylon", "steel"], network="run"
    )
    assert by_network.vectors.shape[0] == 60 and by_network.vectors.shape[1] != found.vectors.shape[1]
    assert find_label_errors(trained, network="run").num_checked > 30
    counts = trained.manifest["splits"]["train"]
    if column == "label":
        assert counts["num_clips"] < features.manifest["splits"]["train"]["num_clips"], "all other clips are excluded"
    else:
        assert counts["num_clips"] == features.manifest["splits"]["train"]["num_clips"]
        assert counts["known_counts"]["drum"] == counts["num_clips"] > counts["known_counts"]["electric guitar"]
        assert any(row["unknown"] for row in trained.splits["train"]), "for all other clips both kinds are unknown"
    assert "of them test" in (tmp_path / "run" / "README.md").read_text()


def test_where_the_label_is_unknown_its_kinds_are_unknown(reference, tmp_path):
    guitars(tmp_path, "labels")
    drums = [line.split(",")[0] for line in (tmp_path / "labels.csv").read_text().splitlines() if ",drum," in line]
    rows = "".join(f"{name},drum,guitar\n" for name in drums[:5])
    (tmp_path / "partial.csv").write_text("clip_id,labels,unknown\n" + rows)
    data = DataConfig(data_dir=str(tmp_path / "labels.csv"), validation_fraction=0.0, num_workers=1)
    data.label_overrides = str(tmp_path / "partial.csv")
    features = load_features(build_corpus_features(data, tmp_path / "partial"))
    errors = find_label_errors(features).errors
    assert all("guitar" not in error.suggested for error in errors if error.row["clip_id"] in drums[:5]), "not known"
    found = subdivide_label(features, "guitar", load_features(reference), ["nylon", "steel"])
    with open(write_subdivide_label(found, features, tmp_path / "out.csv"), newline="") as file:
        written = {row["clip_id"]: row for row in csv.DictReader(file)}
    assert all(written[name]["unknown"] == "nylon;steel" for name in drums[:5])
    assert all(name not in written for name in drums[5:]), "known not to be a guitar, so neither kind"


def test_from_the_command_line(reference, tmp_path, monkeypatch, capsys):
    folder, _ = guitars(tmp_path, "label")
    flags = ["--reference", str(reference), "--into", "nylon", "steel", "--output", "new/overrides.csv"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["scripts/subdivide_label.py", str(folder), "--label", "guitar", *flags])
    runpy.run_path(str(ROOT / "scripts" / "subdivide_label.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "nylon: 30 clips of guitar, 15 kept" in printed and "in held-out groups correctly" in printed
    assert Path("new/overrides.csv").is_file() and Path("new/overrides.png").is_file()


def test_labels_that_cannot_be_split(reference, tmp_path):
    folder, _ = guitars(tmp_path, "label")
    features, other = load_features(folder), load_features(reference)
    with pytest.raises(InputError, match="Unknown label 'guitarr': did you mean 'guitar'"):
        subdivide_label(features, "guitarr", other, ["nylon", "steel"])
    with pytest.raises(InputError, match="Unknown label 'nylom': did you mean 'nylon'"):
        subdivide_label(features, "guitar", other, ["nylom", "steel"])
    with pytest.raises(InputError, match="--into has 3 names and the reference has 2 labels"):
        subdivide_label(features, "guitar", other, ["a", "b", "c"], reference_labels=["nylon", "steel"])
    with pytest.raises(InputError, match="--keep must be above 0"):
        subdivide_label(features, "guitar", other, ["nylon", "steel"], keep=0.0)
    data = DataConfig(data_dir=str(tmp_path / "labels.csv"), validation_fraction=0.0, num_workers=1)
    waveforms = build_corpus_features(data, tmp_path / "waveforms", FeatureConfig(features="waveform"))
    assert find_label_errors(load_features(waveforms)).num_checked == 72
    with pytest.raises(InputError, match=r"waveform features and .* has fbank.*build both with the same features"):
        subdivide_label(load_features(waveforms), "guitar", other, ["nylon", "steel"])
