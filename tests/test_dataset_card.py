"""The card of a feature dataset: what the Hub parses of it, and that what it shows works."""

import re
import shutil

import datasets
import numpy as np
import pytest
from huggingface_hub import DatasetCard
from PIL import Image
from small_features import PITCH_HZ, build_small_features

from hf_audio.data.feature_storage import decode_features
from hf_audio.data.index import CorpusCard
from hf_audio.errors import InputError
from hf_audio.publishing.dataset_card import (
    hub_licence,
    name_repo,
    one_window_a_class,
    read_manifest,
    write_dataset_card,
)

pytestmark = pytest.mark.timeout(60)
CLOSED = CorpusCard(
    "Guarded Tones", licence="House licence 1.0", may_redistribute=False, homepage="https://example.org"
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


def test_its_text_tells_the_counts_and_the_parameters(folder):
    text = (folder / "README.md").read_text()
    assert "| train | 12 | 24 | 12 |" in text and "| test | 3 | 6 | 3 |" in text
    assert "windows of 1 s every 0.5 s" in text and "3 classes (one a clip)" in text
    assert "2 clips could not be used" in text
    assert "- num_mel_bins: 128" in text and "Nobody: Tones." in text and "One split." in text
    assert "{{" not in text and "{%" not in text


def test_its_pictures_exist(folder):
    text = (folder / "README.md").read_text()
    named = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert named == ["pictures/class_distribution.png", "pictures/windows.png"]
    for name in named:
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 100


def test_one_window_a_class_is_of_that_class(folder):
    windows = dict(one_window_a_class(folder, read_manifest(folder)["label_names"]))
    assert sorted(windows) == sorted(PITCH_HZ)
    loudest_bin = {name: window.mean(axis=0).argmax() for name, window in windows.items()}
    assert loudest_bin["tuba"] < loudest_bin["flute"] < loudest_bin["bell"]
    assert all(window.shape == (98, 128) for window in windows.values())


def test_the_lines_that_read_it_work_without_hf_audio(folder, monkeypatch):
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


def test_a_closed_licence_is_named_in_metadata_and_text(tmp_path):
    folder = build_small_features(tmp_path / "features", CLOSED)
    card = DatasetCard.load(write_dataset_card(folder, "alice/tones"))
    assert (card.data.license, card.data.license_name) == ("other", "house-licence-1.0")
    assert card.data.license_link == "https://example.org"
    assert "House licence 1.0, which does not let everyone redistribute" in card.text
    assert 'load_dataset("alice/tones"' in card.text and "No clip had to be left out" in card.text


@pytest.mark.parametrize(
    ("licence", "identifier"),
    [("CC BY-NC-SA 3.0", "cc-by-nc-sa-3.0"), ("GPL-2.0", "gpl-2.0"), ("unknown", "unknown"), ("CC0 1.0", "cc0-1.0")],
)
def test_licences_that_the_hub_knows(licence, identifier):
    assert hub_licence(licence) == {"license": identifier}


def test_naming_the_repository_keeps_what_was_edited(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    readme = copy / "README.md"
    readme.write_text(readme.read_text() + "\nA remark of mine.\n")
    name_repo(copy, "alice/tones")
    assert 'load_dataset("alice/tones"' in readme.read_text() and "./features" not in readme.read_text()
    assert readme.read_text().endswith("\nA remark of mine.\n")


def test_an_unfinished_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"manifest\.json"):
        write_dataset_card(tmp_path)


def test_it_is_the_same_every_time(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "features")
    write_dataset_card(copy)
    for name in ("README.md", "pictures/windows.png", "pictures/class_distribution.png"):
        assert (copy / name).read_bytes() == (folder / name).read_bytes()
