"""The card of a feature dataset: metadata for the Hub, facts, and code that works."""

import dataclasses
import re
import shutil

import datasets
import numpy as np
import pytest
from huggingface_hub import DatasetCard
from PIL import Image
from small_features import PITCH_HZ, build_small_features

from hf_audio.data.index.table import CorpusCard
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError
from hf_audio.figures.windows import class_means, feature_groups, one_window_per_class, training_vectors
from hf_audio.gray_images import decode_features
from hf_audio.kinds.classical import ClassicalFeatures
from hf_audio.kinds.waveform import Waveform, decode_waveform
from hf_audio.publishing.dataset_card import name_repo, read_manifest, write_dataset_card
from hf_audio.publishing.licenses import hub_license

pytestmark = pytest.mark.timeout(60)
CLOSED = CorpusCard(
    "Guarded Tones", license="House license 1.0", may_redistribute=False, homepage="https://example.org"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = build_small_features(tmp_path_factory.mktemp("card") / "features", broken_clips=2)
    write_dataset_card(folder)
    return folder


def lines_of_code(card: str) -> str:
    return re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]


def test_the_hub_parses_its_metadata(folder):
    card = DatasetCard.load(folder / "README.md")
    assert card.data.license == "cc0-1.0" and card.data.size_categories == ["n<1K"]
    assert card.data.task_categories == ["audio-classification"] and "audio-classification" in card.data.tags
    assert {file["split"] for file in card.data.configs[0]["data_files"]} == {"train", "validation", "test"}


def test_its_text_has_counts_and_parameters(folder):
    text = (folder / "README.md").read_text()
    assert "| train | 12 | 24 | 12 |" in text and "| test | 3 | 6 | 3 |" in text
    assert "windows of 1 s every 0.5 s" in text and "3 classes (one per clip)" in text
    assert "2 clips could not be used" in text
    assert "- num_mel_bins: 128" in text and "Nobody: Tones." in text and "One split." in text
    assert "{{" not in text and "{%" not in text


def test_its_plots_exist(folder):
    text = (folder / "README.md").read_text()
    named = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert named == ["plots/class_distribution.png", "plots/windows.png"]
    for name in named:
        with Image.open(folder / name) as plot:
            assert min(plot.size) > 100


def test_one_window_per_class_is_of_that_class(folder):
    windows = dict(one_window_per_class(folder, read_manifest(folder)))
    assert sorted(windows) == sorted(PITCH_HZ)
    loudest_bin = {name: window.mean(axis=0).argmax() for name, window in windows.items()}
    assert loudest_bin["tuba"] < loudest_bin["flute"] < loudest_bin["bell"]
    assert all(window.shape == (98, 128) for window in windows.values())


def test_its_code_reads_the_dataset_without_hf_audio(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    code = lines_of_code((folder / "README.md").read_text())
    assert "hf_audio" not in code
    names: dict = {}
    exec(code, names)
    stored = datasets.load_dataset(str(folder), split="train").cast_column("features", datasets.Image(decode=False))[0]
    expected = decode_features(stored["features"]["bytes"], stored["offset"], stored["scale"])
    np.testing.assert_allclose(names["log_mel"], expected, atol=1e-5)
    assert names["log_mel"].shape == (98, 128)
    assert names["labels"] == [stored["clip_id"].split("/")[0]]
    assert set(datasets.load_dataset(str(folder))) == {"train", "validation", "test"}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = build_small_features(tmp_path_factory.mktemp("card") / "sounds", extractor=Waveform())
    write_dataset_card(folder)
    return folder


@pytest.mark.parametrize(("kind", "value"), [("folder", "log_mel"), ("sounds", "waveform"), ("vectors", "vectors")])
def test_its_code_reads_a_stream(kind, value, request, monkeypatch):
    folder = request.getfixturevalue(kind)
    monkeypatch.chdir(folder.parent)
    code = lines_of_code((folder / "README.md").read_text())
    found, streamed = {}, {}
    exec(code, found)
    exec(code.replace('split="train"', 'split="train", streaming=True'), streamed)
    assert isinstance(streamed["rows"], datasets.IterableDataset)
    np.testing.assert_array_equal(streamed[value], found[value])
    assert streamed["labels"] == found["labels"]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card") / "vectors"
    build_small_features(folder, extractor=ClassicalFeatures(step_s=0.5))
    write_dataset_card(folder)
    return folder


def test_the_card_of_waveforms(sounds, monkeypatch):
    monkeypatch.chdir(sounds.parent)
    card, names = DatasetCard.load(sounds / "README.md"), {}
    assert card.text.startswith("\n# Tones: waveforms") and "a FLAC file that the dataset viewer can play" in card.text
    assert "spectrogram" not in card.data.tags and "log_mel" not in card.text and "{%" not in card.text
    exec(lines_of_code(card.text), names)
    row = load_features(sounds).splits["train"][0]
    np.testing.assert_array_equal(names["waveform"], decode_waveform(row["audio"]["bytes"], row["num_frames"])[0])
    assert names["sample_rate"] == 16_000 and names["labels"] == [row["clip_id"].split("/")[0]]
    assert "| `audio` | audio of the window: 16-bit FLAC, mono, 16000 Hz |" in card.text
    with Image.open(sounds / "plots/windows.png") as plot:
        assert min(plot.size) > 100
    assert {name: len(window) for name, window in one_window_per_class(sounds, read_manifest(sounds))} == dict.fromkeys(
        PITCH_HZ, 16_000
    )


def test_the_card_of_classical_features(vectors, monkeypatch):
    monkeypatch.chdir(vectors.parent)
    card, names = DatasetCard.load(vectors / "README.md"), {}
    assert "with 174 features every 0.5 s, computed by librosa" in card.text and "{%" not in card.text
    assert "- step_s: 0.5" in card.text and "entropy_frame_s" not in card.text
    exec(lines_of_code(card.text), names)
    features = load_features(vectors)
    row = features.splits["train"][0]
    np.testing.assert_array_equal(names["vectors"], features.kind.decode(row))
    assert names["vectors"].shape == (2, 174) and names["labels"] == [row["clip_id"].split("/")[0]]
    lines = [
        "| 0 to 19 | `mfcc_0` ... `mfcc_19` |",
        "| 45 | `tempo_bpm` |",
        "| 46 to 173 | `mel_0_db` ... `mel_127_db` |",
    ]
    assert "\n|---|---|\n" + lines[0] in card.text and all(line + "\n" in card.text for line in lines)
    assert sum(1 + last - first for first, last, _ in feature_groups(ClassicalFeatures().parameters)) == 174
    entropies = ClassicalFeatures(step_s=0.4, entropy_frame_s=0.1).parameters
    assert feature_groups(entropies)[-1] == (174, 177, "`entropy_0` ... `entropy_3`")
    manifest = read_manifest(vectors)
    means = class_means(*training_vectors(vectors, manifest), manifest["label_names"])
    assert means.keys() == PITCH_HZ.keys()
    np.testing.assert_allclose(np.mean(list(means.values()), axis=0), 0, atol=1e-9)  # equally many windows per class
    centroid = {name: (values[46:] * np.arange(128)).sum() for name, values in means.items()}
    assert centroid["tuba"] < centroid["bell"]
    with Image.open(vectors / "plots/windows.png") as plot:
        assert min(plot.size) > 100


def test_a_closed_license_is_in_metadata_and_text(tmp_path):
    folder = build_small_features(tmp_path / "features", CLOSED)
    card = DatasetCard.load(write_dataset_card(folder, "alice/tones"))
    assert (card.data.license, card.data.license_name) == ("other", "house-license-1.0")
    assert card.data.license_link == "https://example.org"
    assert "House license 1.0, which does not permit everyone to redistribute" in card.text
    unknown = dataclasses.replace(CLOSED, license="unknown")
    card = DatasetCard.load(write_dataset_card(build_small_features(tmp_path / "own", unknown), "alice/tones"))
    assert "The license of the recordings is not known, so neither they nor features" in card.text
    assert 'load_dataset("alice/tones"' in card.text and "No clip had to be excluded" in card.text


@pytest.mark.parametrize(
    ("license", "identifier"),
    [
        *(("CC BY-NC-SA 3.0", "cc-by-nc-sa-3.0"), ("CC BY-NC 3.0", "cc-by-nc-3.0"), ("GPL-2.0", "gpl-2.0")),
        *(("unknown", "unknown"), ("CC0 1.0", "cc0-1.0")),
    ],
)
def test_licenses_known_to_the_hub_are_recognized(license, identifier):
    assert hub_license(license) == {"license": identifier}


def test_inserting_the_repository_name_keeps_edits(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    readme = copy / "README.md"
    readme.write_text(readme.read_text() + "\nA remark of mine.\n")
    name_repo(copy, "alice/tones")
    assert 'load_dataset("alice/tones"' in readme.read_text() and "./features" not in readme.read_text()
    assert readme.read_text().endswith("\nA remark of mine.\n")


def test_an_unfinished_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"manifest\.json"):
        write_dataset_card(tmp_path)


def test_writing_it_is_reproducible(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "features")
    write_dataset_card(copy)
    for name in ("README.md", "plots/windows.png", "plots/class_distribution.png"):
        assert (copy / name).read_bytes() == (folder / name).read_bytes()
