"""scripts/explain.py: files, folders, recordings that cannot be explained, and the page."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from tagging_models import save_classifier, write_sound

from hf_audio.errors import InputError

SCRIPT = Path(__file__).parents[1] / "scripts" / "explain.py"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(save_classifier(tmp_path_factory.mktemp("models") / "small_cnn", "cnn"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """A recording of 3 s, a silent one, and a broken file."""
    folder = tmp_path_factory.mktemp("recordings")
    write_sound(folder / "a & b" / "long.wav", 3.0)
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    (folder / "broken.wav").write_bytes(b"PK\x03\x04" + bytes(500))
    return folder


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> Path:
    """A recording shorter than a window."""
    return write_sound(tmp_path_factory.mktemp("short") / "short.wav", 0.2)


def run(monkeypatch, *flags: object) -> int:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, flags)])
    return runpy.run_path(str(SCRIPT))["main"]()


def test_a_folder_with_recordings_that_cannot_be_explained(model, recordings, tmp_path, monkeypatch, caplog, capsys):
    flags = ["--model", model, recordings, "--output_dir", tmp_path / "out", "--gradient_steps", 4, "--num_windows", 1]
    assert run(monkeypatch, *flags) == 1
    assert caplog.messages[-3:] == [
        "broken.wav cannot be explained: unreadable: Format not recognised.",
        "silent.wav cannot be explained: silent",
        "2 of 3 recordings could not be explained",
    ]
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "index.html")
    overview = (tmp_path / "out" / "index.html").read_text()
    assert re.findall(r'<a href="([^"]+)">([^<]+)', overview) == [
        ("a%20%26%20b/long.wav/index.html", "a &amp; b/long.wav")
    ]
    folder = tmp_path / "out" / "a & b" / "long.wav"
    report = json.loads((folder / "report.json").read_text())
    assert report["model"] == "small_cnn" and report["recording"] == "a & b/long.wav"
    assert report["num_windows"] == 11 and len(report["windows"]) == 1 and report["window_s"] == 0.495
    assert list(report["left_out"]) == ["rollout"]
    (first,) = report["windows"]
    methods = ["gradient", "input_x_gradient", "integrated_gradients", "grad_cam", "occlusion"]
    assert sorted(report["methods"]) == sorted(methods) == sorted(first["curves"]) == sorted(report["verdicts"])
    assert first["curves"]["occlusion"]["deletion"][0] == pytest.approx(first["score"], abs=1e-5)
    assert [stage["down_to"] for stage in report["random_weights"]] == ["head", "layer 3", "layer 2", "layer 1"]
    for path in (*folder.iterdir(), tmp_path / "out" / "index.html"):
        assert str(recordings.parent).encode() not in path.read_bytes(), "no path of this machine may be written"


def test_files_written_for_a_recording(model, recordings, tmp_path, monkeypatch):
    flags = ["--model", model, recordings / "a & b" / "long.wav", "--output_dir", tmp_path / "out", "--num_windows", 1]
    flags += ["--methods", "occlusion", "grad_cam", "--skip_checks", "--target", "hum"]
    assert run(monkeypatch, *flags) == 0
    folder = tmp_path / "out" / "long.wav"
    report = json.loads((folder / "report.json").read_text())
    assert report["class"] == "hum" and report["verdicts"] == {} and report["random_weights"] == []
    start = f"{report['windows'][0]['start_s']:.2f}s"
    names = {*("index.html", "report.json", "explanation.png", "explanation.svg")}
    sounds = {f"{start}_{name}.wav" for name in ("sound", "occlusion", "grad_cam")}
    assert {path.name for path in folder.iterdir()} == names | sounds
    assert {soundfile.info(folder / name).frames for name in sounds} == {round(0.495 * 16_000)}
    sound, rate = soundfile.read(recordings / "a & b" / "long.wav", dtype="float32")
    first = round(report["windows"][0]["start_s"] * rate)
    written = soundfile.read(folder / f"{start}_sound.wav")[0]
    np.testing.assert_allclose(written, np.clip(sound[first : first + len(written)], -1, 1), atol=1e-4)
    assert Image.open(folder / "explanation.png").size[0] > 500
    page = (folder / "index.html").read_text()
    assert page.count('class="timed"') == 3 and page.count("data:audio/flac;base64,") == 5
    assert not re.findall(r'(?:src|href)="(?!data:)[^"]*"', page), "the page must be self-contained"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--target", "viollin"], "Unknown class of .*small_cnn 'viollin': did you mean 'violin'"),
        (["--methods", "grad-cam"], "Unknown method 'grad-cam': did you mean 'grad_cam'"),
        (["--methods", "rollout"], "Rollout needs attention weights, which SpectrogramCNN does not provide"),
        (
            ["--methods", "gradient", "--gradient_steps", "9"],
            "--gradient_steps has no effect without the method integr",
        ),
        (["--methods", "gradient", "--occlusion_s", "1"], "--occlusion_s has no effect without the method occlusion"),
        (["--methods", "gradient", "--skip_checks", "--baseline", "mean"], "--baseline has no effect on gradient with"),
        (["--baseline", "noise"], "Unknown baseline 'noise': expected one of: mean, quiet"),
        (["--num_windows", "0"], "--num_windows must be 1 to 20, found 0"),
        (["--seed", "3", "--skip_checks"], "--seed has no effect with --skip_checks"),
        (["--window_s", "9"], "longer than the 0.995 s that .*small_cnn reads"),
        (["nowhere.wav"], "'nowhere.wav' does not exist"),
    ],
)
def test_unsuitable_flags_are_refused(flags, sentence, model, short, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=sentence):
        files = [flags.pop()] if flags[-1] == "nowhere.wav" else [short]
        run(monkeypatch, *files, "--model", model, "--output_dir", tmp_path / "out", *flags)
    assert not (tmp_path / "out").exists(), "nothing may be written"


def test_file_names_that_are_not_utf_8(model, short, tmp_path, monkeypatch):
    name = os.fsdecode(b"\xff.wav")
    shutil.copy(short, tmp_path / name)
    flags = ["--model", model, "--output_dir", tmp_path / "out", "--methods", "gradient", "--skip_checks"]
    assert run(monkeypatch, short, tmp_path / name, *flags) == 0
    overview = (tmp_path / "out" / "index.html").read_text()
    assert '<a href="%FF.wav/index.html">\\udcff.wav</a>' in overview
    report = json.loads((tmp_path / "out" / name / "report.json").read_text())
    assert report["recording"] == "\\udcff.wav"


def test_a_recording_too_short_for_a_setting_is_skipped(model, short, tmp_path, monkeypatch, caplog):
    shorter = write_sound(tmp_path / "shorter.wav", 0.06)
    flags = ["--model", model, "--methods", "occlusion", "--skip_checks", "--occlusion_s", "0.1"]
    assert run(monkeypatch, short, shorter, *flags, "--output_dir", tmp_path / "out") == 1
    assert caplog.messages[-2].startswith("shorter.wav cannot be explained: --occlusion_s must be 0.01 to")
    assert (tmp_path / "out" / "index.html").exists()
    with pytest.raises(InputError, match="--occlusion_s must be"):
        run(monkeypatch, shorter, short, *flags, "--output_dir", tmp_path / "other")


def test_results_never_overwrite_others(model, short, tmp_path, monkeypatch):
    write_sound(tmp_path / "short.wav", 0.3)
    with pytest.raises(InputError, match=r"would both be written to .*short.wav: give their parent folder"):
        run(
            monkeypatch,
            short,
            tmp_path / "short.wav",
            "--model",
            model,
            "--output_dir",
            tmp_path / "o",
        )
    with pytest.raises(InputError, match=r"short\.wav already exists: remove it, or give another --output_dir"):
        run(monkeypatch, short, "--model", model, "--output_dir", tmp_path)
    (tmp_path / "index.html").write_text("of other recordings")
    others = [write_sound(tmp_path / "others" / f"{number}.wav", 0.3) for number in range(2)]
    with pytest.raises(InputError, match=r"index\.html already exists, for other recordings"):
        run(monkeypatch, *others, "--model", model, "--output_dir", tmp_path)
    assert (tmp_path / "index.html").read_text() == "of other recordings"


def test_a_click_on_a_plot_starts_playing_there(model, tmp_path, monkeypatch, request):
    pytest.importorskip("browser", reason="tests/browser.py opens pages")
    write_sound(tmp_path / "a.wav", 0.9)
    flags = ["--model", model, tmp_path / "a.wav", "--output_dir", tmp_path / "out", "--num_windows", 1]
    assert run(monkeypatch, *flags, "--methods", "gradient", "--skip_checks") == 0
    page = request.getfixturevalue("browser").open(tmp_path / "out" / "a.wav" / "index.html")
    page.value("window.timed = document.querySelectorAll('.timed')[1]; window.player = timed.querySelector('audio')")
    page.value(
        "(() => { const axis = timed.querySelector('.axis'), box = axis.getBoundingClientRect(); axis.dispatchEvent("
        "new MouseEvent('click', {clientX: box.left + 0.53 * box.width, clientY: box.top + 9})); })()"
    )
    page.until("player.currentTime > 0.2")
    assert page.value("player.duration") == pytest.approx(0.495, abs=0.01), "the relevant part of the window"
    assert page.until("timed.querySelector('i').style.visibility") == "visible"
    page.until("parseFloat(timed.querySelector('i').style.left) >= 52")
    assert page.complaints == []
    page.close()
