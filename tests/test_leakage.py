"""Leak reports: overlapping windows in two splits are found, different recordings are not; inflated accuracy."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_features import FREE

from hf_audio import Clip, DataConfig, FeatureConfig, InputError, LabelSpace, leak_report, load_features
from hf_audio.copies import Pairs, similarities, sketch_windows, threshold_above
from hf_audio.data.building.build import build_features
from hf_audio.data.index.table import index_of
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.kinds._spectrogram_settings import Spectrogram
from hf_audio.kinds.classical import ClassicalFeatures
from hf_audio.kinds.waveform import Waveform
from hf_audio.leakage import inflated_accuracy
from hf_audio.leakage.inflated_accuracy import train_both_ways
from hf_audio.preparation import build_corpus_features

ROOT = Path(__file__).parents[1]
RATE = 16_000
CLASSES = {"bell": 2400.0, "flute": 800.0}


def sound(seed: int, pitch_hz: float, duration_s: float) -> np.ndarray:
    """Notes of random length and loudness near one pitch, in noise: no two recordings have the same envelope."""
    random, count = np.random.default_rng(seed), round(duration_s * RATE)
    notes = count // 800 + 1
    level = np.repeat(random.uniform(0.02, 0.3, notes), random.integers(800, 4000, notes))[:count]
    pitch = pitch_hz * np.repeat(random.uniform(0.8, 1.25, notes), random.integers(800, 6000, notes))[:count]
    return level * np.sin(2 * np.pi * np.cumsum(pitch) / RATE) + 0.01 * random.standard_normal(count)


def recordings(folder: Path, count: int, duration_s: float) -> list[Clip]:
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for number in range(count):
        name = list(CLASSES)[number % 2]
        path = folder / f"{number}.wav"
        soundfile.write(path, sound(number, CLASSES[name], duration_s), RATE)
        clips.append(Clip(path, (name,), f"g{number}", path.name))
    return clips


def split_of(number: int) -> str:
    return "test" if number % 4 in (1, 2) else "train"


def cut_and_split_at_random(clips: list[Clip], duration_s: float, window_s: float, hop_s: float) -> list[Clip]:
    """A leaky split: every window is a clip with its own group, assigned to a split at random."""
    random, pieces = np.random.default_rng(0), []
    for clip in clips:
        for start_s in np.arange(0, duration_s - window_s + 0.001, hop_s).round(3).tolist():
            name = f"{clip.clip_id}#{start_s}"
            piece = {"start_s": start_s, "end_s": start_s + window_s, "clip_id": name, "group": name}
            pieces.append(dataclasses.replace(clip, split=str(random.choice(["train", "train", "test"])), **piece))
    return pieces


def build(clips: list[Clip], folder: Path, window_s: float, hop_s: float, extractor=None) -> Path:
    labels = LabelSpace.of_clips(index_of(clips))
    return build_features(
        index_of(clips),
        labels,
        folder,
        extractor or KaldiFbank(),
        window_s=window_s,
        hop_s=hop_s,
        card=FREE,
        num_workers=1,
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Clip]:
    return recordings(tmp_path_factory.mktemp("wav"), 8, 12.0)


@pytest.fixture(scope="module")
def honest(files, tmp_path_factory) -> Path:
    clips = [dataclasses.replace(clip, split=split_of(number)) for number, clip in enumerate(files)]
    return build(clips, tmp_path_factory.mktemp("honest") / "features", 5.0, 1.0)


@pytest.mark.parametrize(
    "extractor",
    [KaldiFbank(), Waveform(), Spectrogram(sample_rate=RATE, num_mel_bins=64, channels=("mel", "left"))],
    ids=["fbank", "waveform", "spectrogram"],
)
def test_overlapping_windows_split_at_random_are_found(files, tmp_path, extractor):
    pieces = cut_and_split_at_random(files, 12.0, 5.0, 1.0)
    folder = build(pieces, tmp_path / "features", 5.0, 5.0, extractor)
    report = leak_report(folder)
    start_of = {clip.clip_id: (Path(clip.path).name, clip.start_s) for clip in pieces}
    in_test = {clip.clip_id for clip in pieces if clip.split == "test"}
    (counted,) = report.counts()
    assert counted["windows"][1] / len(in_test) > 0.95, "nearly every test window has a neighbor in training"
    for leak in report.leaks:
        (file_a, start_a), (file_b, start_b) = start_of[leak.clip_a], start_of[leak.clip_b]
        assert file_a == file_b, f"{leak} are different recordings"
        assert abs(leak.shift_s - (start_b - start_a)) < 0.1
        assert (leak.split_a, leak.split_b) == ("train", "test") and leak.same_labels and not leak.same_group
    assert any(abs(leak.shift_s) >= 3 for leak in report.leaks), "an overlap of 40 % is enough"


def test_different_recordings_are_not_flagged_and_known_overlaps_calibrate(honest):
    report = leak_report(honest)
    assert report.leaks == [] and report.num_others >= 200
    assert report.known_found == 1.0 and report.num_known >= 50 and 0.6 <= report.threshold < 0.9
    assert "fewer than one pair of different sounds is expected" in report.as_markdown()
    assert "100.0% are above it" in report.about_threshold()


def test_a_copy_at_another_level_and_offset_is_reported_with_plots(files, tmp_path, forks):
    copy = tmp_path / "copy <of> | 1.wav"
    samples, rate = soundfile.read(files[0].path)
    soundfile.write(copy, 0.3 * samples[round(0.613 * rate) :], rate)
    clips = [dataclasses.replace(clip, split=split_of(number)) for number, clip in enumerate(files)]
    clips.append(dataclasses.replace(clips[0], path=copy, clip_id=copy.name, group="copy", split="test"))
    folder = build(clips, tmp_path / "features", 2.0, 1.0)
    said = forks.run(ROOT / "scripts/report_leaks.py", folder, "--output_dir", tmp_path / "leaks")
    assert said.returncode == 0, said.errors[-2000:]
    assert "| train: 0.wav | " in said.output and r" | test: copy <of> \| 1.wav | " in said.output
    with open(tmp_path / "leaks" / "leaks.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 10 and {(row["clip_a"], row["clip_b"]) for row in rows} == {("0.wav", copy.name)}
    for row in rows:
        shift_s = float(row["start_b_s"]) + 0.613 - float(row["start_a_s"])
        assert abs(float(row["shift_s"]) - shift_s) < 0.06 and float(row["similarity"]) > 0.6
        assert (row["same_group"], row["same_labels"]) == ("False", "True")
    page = (tmp_path / "leaks" / "report.html").read_text()
    assert (
        page.count("data:image/png;base64,") == 2
        and "<td>test: copy &lt;of&gt; | 1.wav</td>" in page
        and "<of>" not in page
    )


def test_copies_in_two_joined_corpora_are_found_in_their_features(tmp_path):
    """The original is a training clip of "home"; a quieter copy, as Vorbis, is a test clip of "hall"."""
    for place, first in (("home", 0), ("hall", 100)):
        lines = ["path,label,split"]
        for clip in recordings(tmp_path / place, 12, 3.0):
            number = int(Path(clip.path).stem)
            other = "copy.ogg" if (place, number) == ("hall", 1) else f"{first + number}.wav"
            pitch_hz = CLASSES[clip.labels[0]]
            samples = sound(number if other == "copy.ogg" else first + number, pitch_hz, 3.0)
            soundfile.write(tmp_path / place / other, 0.5 * samples, RATE)
            lines.append(f"{other},{clip.labels[0]},{'test' if number in (1, 4) and place == 'hall' else 'train'}")
        (tmp_path / place / "labels.csv").write_text("\n".join(lines))
    lines = (tmp_path / "home/labels.csv").read_text().replace("0.wav,bell,train", "0.wav,bell,test")
    (tmp_path / "home/labels.csv").write_text(lines)
    data = DataConfig(data_dir=[str(tmp_path / "home"), str(tmp_path / "hall")], validation_fraction=0, num_workers=1)
    folder = build_corpus_features(data, tmp_path / "features", FeatureConfig(window_s=1.0))
    leaks = leak_report(folder).clip_pairs()
    assert {(leak.clip_a, leak.clip_b) for leak in leaks} == {("home/1.wav", "hall/copy.ogg")}


def test_vectors_without_time_find_copies(files, tmp_path):
    pytest.importorskip("librosa")
    clips = [dataclasses.replace(clip, split=split_of(number), end_s=3.0) for number, clip in enumerate(files)]
    clips.append(dataclasses.replace(clips[0], clip_id="copy", group="copy", split="test"))
    folder = build(clips, tmp_path / "features", 1.5, 1.5, ClassicalFeatures())
    report = leak_report(folder, tmp_path / "leaks")
    assert {(leak.clip_a, leak.clip_b) for leak in report.leaks} == {("0.wav", "copy")}
    assert "img" in (tmp_path / "leaks" / "report.html").read_text()  # in the style sheet only


def test_one_split_cannot_leak(honest):
    features = load_features(honest)
    with pytest.raises(InputError, match="has only the split train; a leak report needs at least two"):
        leak_report(dataclasses.replace(features, splits={"train": features.splits["train"]}))


def test_silence_is_not_compared():
    windows = [np.full((200, 32), -15.0), np.full((200, 32), -15.0), np.random.default_rng(0).normal(size=(200, 32))]
    sketches = sketch_windows(windows, 3, 200, 100.0)
    pairs = Pairs(np.array([0, 0, 2]), np.array([1, 2, 2]), np.zeros(3, dtype=int))
    assert np.isnan(similarities(sketches, pairs)[:2]).all() and similarities(sketches, pairs)[2] > 0.99


def test_the_threshold_grows_with_the_number_of_pairs_and_a_few_duplicates_do_not_move_it():
    random = np.random.default_rng(0)
    others = np.tanh(random.exponential(0.08, 5000))
    few, many = threshold_above(others, 100), threshold_above(others, 100_000)
    assert 0.6 <= few < many < 0.9
    assert abs(threshold_above(np.concatenate([others, np.full(10, 0.98)]), 100_000) - many) < 0.04
    assert (np.tanh(random.exponential(0.08, 100_000)) > many).sum() <= 3


def test_a_leaky_split_inflates_accuracy(tmp_path):
    """Each speaker has a distinct voice and says both words, so a random split rewards recognizing the voices."""
    random, clips = np.random.default_rng(0), []
    for speaker in range(10):
        for number, word in enumerate(("yes", "no")):
            pitch_hz = 300.0 * 1.25 ** random.uniform(0, 10)  # independent of the word
            path = tmp_path / f"{speaker}_{word}.wav"
            soundfile.write(path, sound(100 * speaker + number, pitch_hz, 4.0), RATE)
            split = "test" if speaker in (3, 7) else "train"
            clips.append(Clip(path, (word,), f"speaker{speaker}", path.name, split=split))
    features = load_features(build(clips, tmp_path / "features", 1.0, 0.25))
    found = train_both_ways(features, num_seeds=3)
    assert (found.metric, found.num_train, found.num_test) == ("accuracy", 16 * 13, 4 * 13)
    for model in ("linear", "neighbor"):
        assert np.mean(found.scores[model]["windows"]) > 0.9, found
        assert found.inflated("windows", model) > 20, found
        assert len(found.scores[model]["own"]) == 1 and len(found.scores[model]["clips"]) == 3
    said, table = found.contents()
    assert "| random windows |" in table.as_markdown() and "drawn 3 times" in said


def test_a_streamed_dataset_gets_the_same_report(files, tmp_path):
    clips = [dataclasses.replace(clip, split=split_of(number), end_s=4.0) for number, clip in enumerate(files)]
    clips.append(dataclasses.replace(clips[0], clip_id="copy", group="copy", split="test"))
    folder = build(clips, tmp_path / "features", 1.0, 0.5)
    reports = {}
    for streaming in (False, True):
        features = load_features(folder, streaming=streaming)
        assert hasattr(features.splits["train"], "select") != streaming
        reports[streaming] = leak_report(features, tmp_path / str(streaming), both_ways=True, num_seeds=1)
    assert reports[True] == reports[False] and len(reports[True].leaks) >= 7
    pages = [(tmp_path / str(streaming) / "report.html").read_bytes() for streaming in (False, True)]
    assert pages[0] == pages[1]


@pytest.mark.parametrize("streaming", [False, True], ids=["local", "streamed"])
def test_both_ways_with_several_labels_and_more_windows_than_the_limit(files, tmp_path, monkeypatch, streaming):
    both = [dataclasses.replace(clip, labels=tuple(CLASSES)[: 1 + number % 2]) for number, clip in enumerate(files)]
    both[0] = dataclasses.replace(both[0], labels=(), unknown=("flute",))
    clips = [dataclasses.replace(clip, split=split_of(number), end_s=4.0) for number, clip in enumerate(both)]
    labels = LabelSpace(tuple(CLASSES), "multi_label_classification")
    options = {"window_s": 1.0, "hop_s": 0.5, "card": FREE, "num_workers": 1}
    folder = build_features(index_of(clips), labels, tmp_path / "features", KaldiFbank(), **options)
    features = load_features(folder, streaming=streaming)
    whole = train_both_ways(features, num_seeds=1)
    assert (whole.metric, whole.num_train, whole.num_test) == ("f1_micro", 28, 28)
    monkeypatch.setattr(inflated_accuracy, "MAX_WINDOWS", 32)
    part = train_both_ways(features, num_seeds=1)
    assert (part.num_train, part.num_test) == (14, 14), "two whole groups of 7 windows each"
    assert all(0 <= score <= 1 for ways in part.scores.values() for found in ways.values() for score in found)


def test_real_recordings_of_different_sources_are_not_flagged(shared_data, tmp_path):
    with open(shared_data / "esc10" / "labels.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] in ("baby_cry", "dog_bark", "rain")]
    wanted = [row for row in rows if row["split"] in ("fold3", "fold5")]
    clips = [
        Clip(
            shared_data / "esc10" / row["path"],
            (row["label"],),
            row["group"],
            row["path"],
            split="test" if row["split"] == "fold3" else "train",
        )
        for row in wanted
    ]
    report = leak_report(build(clips, tmp_path / "features", 2.0, 0.5))
    assert report.known_found > 0.95
    # The same cry is in two recordings of one uploader, as their plots show
    assert [{leak.clip_a[15:-4], leak.clip_b[15:-4]} for leak in report.clip_pairs()] == [{"5-151085-A", "3-151080-A"}]
