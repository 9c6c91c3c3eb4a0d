"""From a sound to tags: accepted inputs, windows of long recordings, scores, timeline, segments."""

from __future__ import annotations

import io
import json
import logging

import numpy as np
import pytest
import soundfile
import torch
from tagging_models import HOP_S, THRESHOLD, WINDOW_S, changing_sound, save_classifier, write_sound

import hf_audio
from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.errors import InputError
from hf_audio.predictor import Predictor
from hf_audio.tagging.blocks import MAX_PARTS, append, joined
from hf_audio.tagging.tagger import Tagger

LENGTHS_S = (0.01, 0.3, 0.4999, 0.5, 0.63, 0.7, 3.137, 9.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_classifier(tmp_path_factory.mktemp("models") / "cnn", "cnn")


@pytest.fixture(scope="module")
def tagger(folder) -> Tagger:
    return hf_audio.load(folder, batch_size=4)


@pytest.mark.parametrize("duration_s", LENGTHS_S)
def test_a_sound_of_any_length_has_the_logits_of_the_predictor(tagger, folder, tmp_path, duration_s):
    samples, path = changing_sound(duration_s), write_sound(tmp_path / "a.wav", duration_s)
    wanted = Predictor.load(str(folder)).waveform(samples, 16_000)
    for tags in (tagger(path), tagger(samples, 16_000)):
        np.testing.assert_allclose(tags.logits, wanted.logits, atol=1e-4)
        np.testing.assert_allclose(tags.starts_s, wanted.starts_s, atol=1e-9)
        found = [tags.scores[name] for name in tagger.labels.names]
        np.testing.assert_allclose(found, wanted.scores, atol=1e-5)
        assert list(tags.scores.values()) == sorted(tags.scores.values(), reverse=True)
        assert tags.timeline.ends_s.max() <= tags.duration_s + 1e-9


def test_a_long_file_is_read_in_pieces_with_the_same_windows(tagger, tmp_path, monkeypatch):
    from hf_audio.data.recordings import audio

    path = write_sound(tmp_path / "long.wav", 9.13)
    whole = tagger(path)
    monkeypatch.setattr(audio, "WHOLE_S", 1.0)
    monkeypatch.setattr(audio, "BLOCK_FRAMES", 5_000)
    pieces = tagger(path)
    np.testing.assert_array_equal(pieces.starts_s, whole.starts_s)
    np.testing.assert_allclose(pieces.logits, whole.logits, atol=1e-4)
    assert pieces.duration_s == pytest.approx(9.13, abs=0.01)


def test_every_form_of_a_sound_gives_the_same_tags(tagger, tmp_path):
    path = write_sound(tmp_path / "a.wav", 1.3)
    content, samples = path.read_bytes(), changing_sound(1.3)
    wanted = tagger(path).logits

    class Pipe(io.RawIOBase):
        def __init__(self, content):
            self.rest = io.BytesIO(content)

        def read(self, size=-1):
            return self.rest.read(size)

    with open(path, "rb") as file:
        given = [
            *(str(path), content, bytearray(content), file, io.BytesIO(content), Pipe(content)),
            *({"array": samples, "sampling_rate": 16_000}, {"bytes": content, "path": "a.wav"}),
            *({"bytes": None, "path": str(path)}, {"audio": {"bytes": content, "path": None}, "label": 1}),
        ]
        for sound in given:
            np.testing.assert_allclose(tagger(sound).logits, wanted, atol=1e-5)
    for sound in (samples, np.stack([samples, samples]), torch.from_numpy(samples), samples.tolist()):
        sound = np.float32(sound) if isinstance(sound, list) else sound
        np.testing.assert_allclose(tagger(sound, 16_000).logits, wanted, atol=1e-5)


def test_a_row_of_datasets(tagger, tmp_path):
    import datasets

    path = write_sound(tmp_path / "a.wav", 1.3)
    rows = datasets.Dataset.from_dict({"audio": [str(path)]}).cast_column("audio", datasets.Audio(decode=False))
    np.testing.assert_allclose(tagger(rows[0]).logits, tagger(path).logits, atol=1e-5)


@pytest.mark.parametrize(
    ("sound", "rate", "message"),
    [
        (np.zeros(900, np.float32), None, "need their sample_rate"),
        ({"array": np.zeros(900, np.float32)}, None, "needs its `sampling_rate`"),
        (np.zeros((900, 2), np.float32), 16_000, "channels come first, so use samples.T"),
        (np.zeros(900, np.int16), 16_000, "finite floats"),
        ("https://example.org/a.wav", None, "is a web address"),
        ("missing.wav", None, r"missing.wav cannot be tagged \(missing\)"),
        (b"PK\x03\x04" + bytes(100), None, r"The sound cannot be tagged \(unreadable"),
        (b"", None, r"The sound cannot be tagged \(empty\)"),
        ({"label": 1}, None, "A row of `datasets` needs `audio`"),
        ({"audio": None}, None, "The `audio` of a row is not a recording but NoneType"),
        (np.zeros(9), "16000", "A sample rate must be above 0 Hz and at most 1,000,000 Hz, found '16000'"),
        (np.zeros(9), 1e12, "A sample rate must be above 0 Hz and at most 1,000,000"),
        (io.StringIO("a"), None, "open as text"),
        (object(), 16_000, "A sound must be a path"),
    ],
)
def test_bad_sounds_are_one_sentence(tagger, sound, rate, message):
    with pytest.raises(InputError, match=message):
        tagger(sound, rate)


def test_a_sample_rate_without_effect_is_refused(tagger, tmp_path):
    path = write_sound(tmp_path / "a.wav", 0.6)
    with pytest.raises(InputError, match="has its own"):
        tagger(path, 44_100)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"window_s": 0.0}, "window_s must be a number of seconds"),
        ({"hop_s": float("nan")}, "hop_s must be a number of seconds"),
        ({"threshold": 1.5}, "threshold must be a score from 0 to 1"),
        ({"top_k": 0}, "at least 1"),
        ({"window_s": 60.0}, "longer than the .* s that .* reads"),
        ({"window_s": 0.005}, "too short for"),
    ],
)
def test_bad_tag_settings_are_one_sentence(tagger, given, message):
    with pytest.raises(InputError, match=message):
        tagger(changing_sound(1), 16_000, **given)


def test_settings_have_an_effect(tagger, caplog):
    sound = changing_sound(4)
    own = tagger(sound, 16_000)
    assert own.settings.decisive == {
        **{"window_s": WINDOW_S, "hop_s": HOP_S, "threshold": THRESHOLD, "top_k": None, "smooth_s": WINDOW_S}
    }
    other = tagger(sound, 16_000, window_s=0.4, top_k=2)
    assert other.settings.hop_s == 0.4 and len(other.scores) == 2 and len(other.highest(0)) == 2
    assert len(tagger(sound, 16_000, hop_s=0.5).starts_s) < len(own.starts_s)
    assert {one.label for one in tagger(sound, 16_000, threshold=0.0).segments} == set(tagger.labels.names)
    assert tagger(sound, 16_000, threshold=1.0).segments == []
    assert not caplog.messages
    tagger(sound, 16_000, hop_s=2.0)
    assert "Windows of 0.5 s every 2 s skip the sound between them" in caplog.text


def test_segments_of_a_single_label_model_fill_the_timeline(tmp_path):
    tagger = hf_audio.load(save_classifier(tmp_path / "single", "cnn", SINGLE_LABEL))
    tags = tagger(changing_sound(6), 16_000, smooth_s=0)
    assert tagger.threshold is None and sum(tags.scores.values()) == pytest.approx(1)
    starts, ends = [one.start_s for one in tags.segments], [one.end_s for one in tags.segments]
    assert starts[0] == 0 and ends[-1] == pytest.approx(tags.duration_s) and starts[1:] == pytest.approx(ends[:-1])
    with pytest.raises(InputError, match="A threshold has no effect on"):
        tagger(changing_sound(1), 16_000, threshold=0.5)


def test_logits_that_are_not_finite_are_refused(tagger):
    sound = 1e30 * changing_sound(1)
    for tag in (lambda: tagger(sound, 16_000), lambda: _in_steps(tagger, tagger.prepared(sound, 16_000))):
        with pytest.raises(InputError, match="are not finite"):
            tag()


def _in_steps(tagger, prepared):
    return tagger.tags(prepared, tagger.logits(prepared.inputs))


@pytest.mark.parametrize("device", ["grill", "meta", "cuda:99"])
def test_a_missing_device_is_one_sentence(folder, device):
    with pytest.raises(InputError, match=f"The device '{device}' cannot be used"):
        hf_audio.load(folder, device=device)


def test_several_sounds_in_one_forward_call(tagger):
    """As in the service, which joins the windows of several requests."""
    sounds = [changing_sound(duration_s) for duration_s in (1.3, 3.1)]
    prepared = [tagger.prepared(sound, 16_000) for sound in sounds]
    logits = tagger.logits(joined([one.inputs for one in prepared]))
    for sound, one, own in zip(sounds, prepared, np.split(logits, [len(prepared[0].starts_s)]), strict=True):
        tags, wanted = tagger.tags(one, own), tagger(sound, 16_000)
        np.testing.assert_allclose(tags.logits, wanted.logits, atol=1e-5)
        assert [label for label, *_ in tags.segments] == [label for label, *_ in wanted.segments]


def test_the_windows_chosen_for_a_stock_model_are_reported(hub, token, tmp_path, caplog):
    import huggingface_hub

    folder = save_classifier(tmp_path / "stock", "wav2vec2_stock", SINGLE_LABEL, usage=None)
    huggingface_hub.HfApi(token=token).create_repo("alice/stock", private=True)
    huggingface_hub.HfApi(token=token).upload_folder(repo_id="alice/stock", folder_path=folder)
    tagger = hf_audio.load("alice/stock", token=token)
    with caplog.at_level(logging.WARNING):
        tags = tagger(changing_sound(25), 16_000)
        tagger(changing_sound(1), 16_000)
    (told,) = [record.message for record in caplog.records if "windows" in record.message]
    assert "alice/stock" in told and " 10 s" in told and "window_s" in told
    assert tags.starts_s.tolist() == [0, 10, 15] and token not in tags.to_json()
    with pytest.raises(InputError, match="Cannot load checkpoint 'alice/stock'"):
        hf_audio.load("alice/stock", revision="none", token=token)


def test_a_stock_ast_gets_its_longest_window(tmp_path):
    tagger = hf_audio.load(save_classifier(tmp_path / "ast", "ast_stock", usage=None))
    rule = tagger.windows()
    assert (rule.window, rule.hop) == (97 * 160 + 400, 100 * 160)  # 98 frames; the hop is a multiple of a frame


def test_a_model_without_a_trained_head_is_refused(folder, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path / "headless")
    path = tmp_path / "headless/model.safetensors"
    weights = {name: values for name, values in load_file(path).items() if not name.startswith("classifier")}
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(InputError, match="has no trained classifier"):
        hf_audio.load(tmp_path / "headless")


def test_silence_is_tagged_too(tagger, tmp_path):
    path = tmp_path / "silent.wav"
    soundfile.write(path, np.zeros(20_000), 16_000)
    np.testing.assert_allclose(tagger(path).logits, tagger(np.zeros(20_000, np.float32), 16_000).logits, atol=1e-5)


def test_tables_json_and_images(tagger, tmp_path):
    tags = tagger(write_sound(tmp_path / "<b>&.wav", 3.1))
    table = tags.to_pandas()
    assert list(table) == ["start_s", "end_s", *tagger.labels.names] and len(table) == len(tags.starts_s)
    read = json.loads(tags.to_json())
    assert [one["label"] for one in read["scores"]] == list(tags.scores)
    assert len(read["timeline"]) == len(table) and len(read["segments"]) == len(tags.segments)
    html = tags._repr_html_()
    assert "<audio controls" in html and "<b>&lt;b&gt;&amp;.wav</b>" in html and str(tmp_path) not in html
    gone = tagger(io.BytesIO((tmp_path / "<b>&.wav").read_bytes()))
    gone.recording.source.close()
    assert "no longer available" in gone._repr_html_()
    shown = hf_audio.player(tmp_path / "<b>&.wav")._repr_html_()
    assert "<audio controls" in shown and "&lt;b&gt;&amp;.wav" in shown and str(tmp_path) not in shown


def test_embeddings_are_the_inputs_of_the_classifier(tagger, tmp_path):
    path = write_sound(tmp_path / "a.wav", 3.1)
    found, prepared = tagger.embed(path), tagger.prepared(path)
    wanted = tagger.predictor.embed(prepared.inputs).float().cpu().numpy()
    np.testing.assert_allclose(found.values, wanted, atol=1e-5)
    assert list(found.to_pandas()) == ["file", "start_s", "end_s", "embedding"]
    (tmp_path / "b.wav").write_bytes(b"no sound")
    with pytest.raises(InputError, match=r"b\.wav cannot be tagged"):
        tagger.embed(tmp_path / "b.wav")


def test_many_small_parts_are_joined_and_stay_in_order():
    parts: list[np.ndarray] = []
    for number in range(100):
        append(parts, np.full((2, 3), number))
    assert len(parts) < MAX_PARTS
    np.testing.assert_array_equal(np.concatenate(parts)[::2, 0], np.arange(100))
