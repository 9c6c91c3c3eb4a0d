"""Features of kind "waveform": sound as FLAC, and batches equal to those of the stock extractors."""

from __future__ import annotations

import filecmp
import io
import multiprocessing
import wave
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile
import tone_corpus
import torch
from torch.utils.data import DataLoader
from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from hf_audio.baselines import linear_scores, window_statistics
from hf_audio.config import DataConfig, FeatureConfig
from hf_audio.data.building.build import build_features
from hf_audio.data.index.table import index_of
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.loading.features_dataset import check_same_extractor, load_features
from hf_audio.data.loading.streaming import StreamedBatches, StreamedWindows
from hf_audio.data.recordings.audio import read_audio
from hf_audio.errors import InputError
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.kinds.classical import ClassicalFeatures
from hf_audio.kinds.waveform import Waveform, decode_waveform, encode_waveform
from hf_audio.preparation import build_corpus_features, window_extractor

HALF_A_STEP = 0.5 / 32768 + 1e-7


@pytest.fixture(scope="module")
def folder(tones, tmp_path_factory) -> Path:
    return tone_corpus.build(tones, tmp_path_factory.mktemp("features") / "tones", Waveform())


@pytest.fixture(scope="module")
def features(folder):
    return load_features(folder)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def assert_same_files(folder: Path, other: Path) -> None:
    assert files(folder) == files(other)
    _, different, errors = filecmp.cmpfiles(folder, other, files(folder), shallow=False)
    assert not different and not errors


def sound_of(tones: Path, row: dict, window_s: float = tone_corpus.WINDOW_S) -> np.ndarray:
    """The samples of a row, read from the recording."""
    start = round(row["start_s"] * 16_000)
    return read_audio(tones / row["clip_id"], 16_000)[start : start + round(window_s * 16_000)]


# Storage


def test_flac_is_exact_to_half_a_step_and_clips():
    waveform = np.random.default_rng(0).uniform(-1.5, 1.5, 1000).astype(np.float32)
    back, sample_rate = decode_waveform(encode_waveform(waveform, 22_050), 1000)
    assert sample_rate == 22_050 and back.dtype == np.float32
    np.testing.assert_allclose(back, np.clip(waveform, -1, 32767 / 32768), atol=HALF_A_STEP)


def test_samples_of_16_bits_are_read_back_exactly():
    levels = np.random.default_rng(0).integers(-32768, 32768, 1000).astype(np.int16)
    back, _ = decode_waveform(encode_waveform(levels.astype(np.float32) / 32768, 16_000), 1000)
    assert np.array_equal(back * 32768, levels)


def test_rows_contain_the_sound_of_their_windows(tones, features):
    assert {split: len(rows) for split, rows in features.splits.items()} == {
        "train": 616,
        "validation": 88,
        "test": 176,
    }
    assert features.kind.name == "waveform" and features.window_s == 0.3 and features.window_frames == 4800
    assert features.splits["test"].column_names == [
        "clip_id", "group", "start_s", "audio", "num_frames", "labels", "label", "take",
    ]  # fmt: skip
    for row in features.splits["test"]:
        exact = sound_of(tones, row)
        np.testing.assert_allclose(features.kind.decode(row), exact, atol=HALF_A_STEP)
        assert row["num_frames"] == len(exact) == 4800
    assert [row["start_s"] for row in features.splits["test"]][:11] == pytest.approx([0.1 * n for n in range(11)])


def test_datasets_reads_it_as_audio(folder):
    rows = datasets.load_dataset(str(folder), split="test")
    assert rows.features["audio"] == datasets.Audio(sampling_rate=16_000)  # played by the Hub's dataset viewer
    row = rows.cast_column("audio", datasets.Audio(decode=False))[0]
    assert row["audio"]["bytes"][:4] == b"fLaC" and row["audio"]["path"].endswith(".flac")
    with soundfile.SoundFile(io.BytesIO(row["audio"]["bytes"])) as file:
        assert (file.samplerate, file.channels, file.subtype, len(file)) == (16_000, 1, "PCM_16", 4800)


def test_other_rates_short_clips_and_too_short_ones(tmp_path):
    clips = tone_corpus.tone_clips(tmp_path / "tones", 40)
    with wave.open(str(clips[5].path), "wb") as file:  # in the train split, 24 ms
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.full(384, 3000, np.int16).tobytes())
    options = {"window_s": 2.0, "hop_s": 1.0, "card": tone_corpus.CARD, "num_workers": 1}
    soundfile.write(clips[0].path, 0.1 * np.ones(5 * 8000), 8000)
    features = load_features(
        build_features(index_of(clips), tone_corpus.LABELS, tmp_path / "f", Waveform(sample_rate=8000), **options)
    )
    train = {row["clip_id"]: row["num_frames"] for row in features.splits["train"]}
    assert train.pop(clips[0].clip_id) == features.window_frames == 16_000
    assert set(train.values()) == {round(1.3 * 8000)} and clips[5].clip_id not in train
    assert "192 samples at 8000 Hz, but one frame needs 200" in (tmp_path / "f/excluded.csv").read_text()
    batch = FeatureCollator(features.extractor, features.labels)([features.splits["train"][n] for n in range(8)])
    assert batch["input_values"].shape in {(8, 10_400), (8, 16_000)}


def test_a_window_too_short_for_any_model(tones, tmp_path):
    with pytest.raises(InputError, match=r"window of 0\.02 s every 0\.1 s is too short: .* 0\.025 s every 6\.25e-05 s"):
        tone_corpus.build(tones, tmp_path / "f", Waveform(), window_s=0.02)


# Building


def test_a_killed_build_and_workers_give_the_same_result(tones, folder, tmp_path):
    assert_same_files(tone_corpus.build(tones, tmp_path / "workers", Waveform(), num_workers=2), folder)
    process = multiprocessing.get_context("fork").Process(
        target=tone_corpus.build_and_die, args=(tones, tmp_path / "killed", 8, False, Waveform())
    )
    process.start()
    process.join(60)
    assert process.exitcode == -9 and not (tmp_path / "killed/manifest.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "killed/data").iterdir())[:3]}
    assert_same_files(tone_corpus.build(tones, tmp_path / "killed", Waveform()), folder)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_another_kind_of_features_is_another_build(tones, folder):
    with pytest.raises(InputError, match="differs in: extractor"):
        tone_corpus.build(tones, folder, KaldiFbank())


def test_settings_choose_the_extractor():
    assert window_extractor(FeatureConfig()) == KaldiFbank()
    assert window_extractor(FeatureConfig(num_mel_bins=64)) == KaldiFbank(num_mel_bins=64)
    assert window_extractor(FeatureConfig(features="waveform")) == Waveform()
    assert window_extractor(FeatureConfig(features="classical", step_s=1.0)) == ClassicalFeatures(step_s=1.0)
    with pytest.raises(InputError, match="Unknown features 'wavefrom': did you mean 'waveform'"):
        window_extractor(FeatureConfig(features="wavefrom"))
    with pytest.raises(InputError, match="--step_s is for classical features, but these are waveform"):
        window_extractor(FeatureConfig(features="waveform", step_s=1.0))


@pytest.mark.parametrize("kind", ["fbank", "waveform", "classical"])
def test_a_corpus_becomes_features_of_the_requested_kind(tones, tmp_path, kind):
    for clip in tone_corpus.tone_clips(tones)[:24]:
        target = tmp_path / "recordings" / clip.labels[0] / Path(clip.path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(clip.path)
    data = DataConfig(data_dir=str(tmp_path / "recordings"), num_workers=1)
    settings = FeatureConfig(features=kind, window_s=0.5)
    features = load_features(build_corpus_features(data, tmp_path / "features", settings))
    assert features.kind.name == kind and features.splits.keys() == {"train", "validation", "test"}
    assert features.window_frames == {"fbank": 48, "waveform": 8000, "classical": 1}[kind]
    wanted = window_extractor(settings).to_feature_extractor(1, 0.0, 1.0)
    check_same_extractor(features.extractor, wanted)  # as before training on such a dataset


# Batches


@pytest.mark.parametrize("masked", [False, True])
def test_a_batch_equals_the_output_of_wav2vec2s_extractor(tones, features, masked):
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=masked)
    rows = [features.splits["test"][number] for number in (0, 50, 100)]
    batch = FeatureCollator(extractor, features.labels)(rows)
    exact = extractor([sound_of(tones, row) for row in rows], sampling_rate=16_000, padding=True, return_tensors="pt")
    assert batch["input_values"].shape == (3, 4800) and batch["input_values"].dtype == torch.float32
    np.testing.assert_allclose(batch["input_values"], exact["input_values"], atol=1e-3)  # values reach 1.5
    assert ("attention_mask" in batch) == masked
    assert batch["labels"].shape == (3, 3) and batch["clip_keys"].shape == (3,)


def test_a_window_is_padded_with_silence_independently_of_its_batch(features):
    long, short = features.splits["test"][0], dict(features.splits["test"][50])
    sound = features.kind.decode(short)[:3000]
    short |= {"audio": {"bytes": encode_waveform(sound, 16_000)}, "num_frames": 3000}
    for extractor in (Wav2Vec2FeatureExtractor(), Wav2Vec2FeatureExtractor(return_attention_mask=True)):
        collate = FeatureCollator(extractor, features.labels)
        values = collate([long, short])["input_values"]
        assert torch.equal(values[0], collate([long])["input_values"][0])
        assert torch.equal(values[1, :3000], collate([short])["input_values"][0])
        assert (values[1, 3000:] == 0).all()
        (alone,) = extractor(sound, sampling_rate=16_000, return_tensors="np")["input_values"]
        np.testing.assert_allclose(values[1, :3000], alone, atol=1e-5)
    assert collate([long, short])["attention_mask"].sum(dim=1).tolist() == [4800, 3000]


def test_whispers_extractor_pads_on_its_own(tones, features):
    rows = [features.splits["test"][number] for number in (0, 50)]
    sounds = [sound_of(tones, row) for row in rows]
    whisper = WhisperFeatureExtractor()
    batch = FeatureCollator(whisper, features.labels)(rows)
    exact = whisper(sounds, sampling_rate=16_000, return_tensors="pt")
    assert batch["input_features"].shape == (2, 80, 3000) and "input_values" not in batch
    np.testing.assert_allclose(batch["input_features"], exact["input_features"], atol=0.05)


def test_metadata_of_the_clips_travels_with_a_batch(features):
    known = next(row for row in features.splits["train"] if row["clip_id"] == "low_001.wav")
    assert known["take"] == 1, "numbers stay numbers"
    rows = [known, features.splits["test"][0], known | {"take": None}]
    fields = {"take": ["3", "1"], "genre": ["None"]}
    batch = FeatureCollator(features.extractor, features.labels, fields)(rows)
    assert batch["metadata"].dtype == torch.int64 and batch["metadata"].tolist() == [[2, 0], [0, 0], [0, 0]]
    assert "metadata" not in FeatureCollator(features.extractor, features.labels)(rows)


# The Hub


def test_waveforms_are_streamed_from_the_hub(hub, folder, features):
    content = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    hub.create("datasets", "alice/sounds", content)
    streamed = load_features("alice/sounds", streaming=True)
    assert isinstance(streamed.splits["train"], datasets.IterableDataset) and streamed.kind.name == "waveform"
    assert list(streamed.splits["test"]) == list(features.splits["test"])
    assert list(streamed.splits["train"]) == list(features.splits["train"])
    assert streamed.clips() == features.clips() and next(iter(streamed.splits["train"]))["take"] is not None
    windows, collate = StreamedWindows(streamed.streamed, 32), FeatureCollator(streamed.extractor, streamed.labels)
    loader = DataLoader(windows, batch_sampler=StreamedBatches(windows), num_workers=2, collate_fn=collate)
    batches = list(loader)
    assert len(batches) == 20 and all(batch["input_values"].shape == (32, 4800) for batch in batches)


# Users of these features


def test_the_linear_baseline_uses_log_mel_statistics(tones, features):
    values, targets, keys = window_statistics(features, "test")
    assert values.shape == (176, 256) and targets.shape == (176, 3) and keys.shape == (176,)
    (exact,) = KaldiFbank()([torch.from_numpy(sound_of(tones, features.splits["test"][0]))])
    np.testing.assert_allclose(values[0, :128], exact.mean(dim=0), atol=0.05)
    np.testing.assert_allclose(values[0, 128:], exact.std(dim=0, correction=0), atol=0.05)
    scores = linear_scores(features, ["test"])["test"]
    assert (scores.logits.argmax(axis=1) == scores.targets.argmax(axis=1)).mean() > 0.9


def test_kinds_that_do_not_fit_are_one_sentence(features):
    fbank = KaldiFbank().to_feature_extractor(298, -5.0, 4.0)
    check_same_extractor(features.extractor, WhisperFeatureExtractor())
    check_same_extractor(features.extractor, Wav2Vec2FeatureExtractor(return_attention_mask=True))
    with pytest.raises(InputError, match="sampling_rate is 16000, expected 8000"):
        check_same_extractor(features.extractor, Wav2Vec2FeatureExtractor(sampling_rate=8000))
    with pytest.raises(InputError, match=r"are fbank \(log-mel .* reads waveforms .* --features waveform"):
        check_same_extractor(fbank, WhisperFeatureExtractor())
    with pytest.raises(InputError, match=r"are waveform \(waveforms\), but the model reads log-mel spectrograms"):
        check_same_extractor(features.extractor, fbank)
