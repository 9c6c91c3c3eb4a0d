"""`hf-audio listen` on a recording in real time: a rolling window gets the scores of the same window of the file."""

from __future__ import annotations

import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import soxr
from tagging_models import save_classifier
from training_run import sound

import hf_audio
from hf_audio.commands import listen as listen_command
from hf_audio.errors import InputError
from hf_audio.tagging.listening import Incoming, file_in_real_time, listen

RATE = 44_100


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_classifier(tmp_path_factory.mktemp("models") / "cnn", "cnn"))


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    random = np.random.default_rng(0)
    pieces = [soxr.resample(sound(kind, 0.5, random), 16_000, RATE) for kind in (0, 1, 2)]
    path = tmp_path_factory.mktemp("sound") / "a.wav"
    soundfile.write(path, np.stack([np.concatenate(pieces)] * 2, axis=1), RATE, subtype="FLOAT")
    return str(path)


def test_a_file_in_real_time(model, recording, capsys):
    assert listen_command.main(["--model", model, "--file", recording, "--format", "jsonl", "--top_k", "0"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    times_s = [line["time_s"] for line in lines]
    assert times_s == sorted(times_s) and times_s[-1] > 1.3
    assert sum(1 + line["num_skipped"] for line in lines) == int(times_s[-1] / 0.1 + 1e-9)
    tagger, samples = hf_audio.load(model), soxr.resample(soundfile.read(recording)[0].mean(axis=1), RATE, 16_000)
    for line in lines:
        end, window = round(16_000 * line["time_s"]), tagger.windows().window
        wanted = tagger(np.float32(samples[max(0, end - window) : end]), 16_000).scores
        assert line["scores"] == pytest.approx(wanted, abs=0.02) and line["behind_s"] > 0


@pytest.mark.parametrize("duration_s", [0.06, 0.25])
def test_an_end_shorter_than_a_hop_is_classified_too(model, tmp_path, duration_s):
    samples = sound(0, duration_s, np.random.default_rng(0))
    soundfile.write(tmp_path / "a.wav", soxr.resample(samples, 16_000, RATE), RATE, subtype="FLOAT")
    tagger = hf_audio.load(model)
    *_, last = listen(tagger, tagger.settings(hop_s=0.1), file_in_real_time(str(tmp_path / "a.wav")))
    assert last.time_s == pytest.approx(duration_s, abs=1e-3)
    assert last.scores == pytest.approx(tagger(np.float32(samples), 16_000).scores, abs=0.02)


def test_a_model_that_is_too_slow_skips_hops(model):
    tagger = hf_audio.load(model)
    blocks = [np.zeros((3200, 1), np.float32)] * 5
    heard = list(listen(tagger, tagger.settings(hop_s=0.1), Incoming(16_000, blocks)))
    assert sum(1 + one.num_skipped for one in heard) == 10 and heard[-1].time_s == pytest.approx(1.0)


def test_bars_are_drawn_over_each_other_on_a_terminal(monkeypatch):
    written = []
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(write=written.append, isatty=lambda: True))
    from hf_audio.tagging.listening import Heard

    lines = listen_command._draw(Heard(1.0, 0.05, {"bell": 0.75, "\x1b[2J": 0.5}, 2), 0)
    assert lines == 3 and "50 ms latency, 2 hops skipped" in written[0] and written[0].count("\x1b[2K") == 3
    assert "0.750 ###############..... bell" in written[0] and "\x1b[2J" not in written[0]
    listen_command._draw(Heard(1.1, 0.05, {"bell": 0.75}, 0), lines)
    assert written[1].startswith("\x1b[3A")


def test_what_cannot_be_listened_to_is_one_sentence(model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"none\.wav cannot be tagged \(missing\)"):
        listen_command.main(["--model", model, "--file", "none.wav"])
    with pytest.raises(InputError, match="remove one of the two flags"):
        listen_command.main(["--model", model, "--file", "a.wav", "--microphone", "1"])
    loud = tmp_path / "loud.wav"
    soundfile.write(loud, np.full(8_000, 1e30, np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(
        InputError, match=r"The sound cannot be classified at 0\.\d s \(the model's outputs are not finite"
    ):
        listen_command.main(["--model", model, "--file", str(loud)])
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(InputError, match=re.escape('pip install "hf_audio[listen]"')):
        listen_command.main(["--model", model])


def test_the_microphone_is_read_at_its_own_rate(model, monkeypatch, capsys):
    """With a fake sounddevice: the real one needs a sound card."""

    class Stream:
        def __init__(self, rate, blocksize, device, channels, dtype):
            assert (rate, device, channels, dtype) == (48_000, 3, 1, "float32")
            self.blocksize, self.rest = blocksize, 30

        def __enter__(self):
            return self

        def __exit__(self, *of_error):
            pass

        def read(self, size):
            self.rest -= 1
            if not self.rest:
                raise KeyboardInterrupt
            return np.zeros((size, 1), np.float32), False

    stand_in = SimpleNamespace(
        query_devices=lambda device, kind: {"default_samplerate": 48_000.0, "max_input_channels": 1},
        InputStream=Stream,
        PortAudioError=RuntimeError,
    )
    monkeypatch.setitem(sys.modules, "sounddevice", stand_in)
    with pytest.raises(KeyboardInterrupt):
        listen_command.main(["--model", model, "--microphone", "3"])
    assert "ms latency" in capsys.readouterr().out
