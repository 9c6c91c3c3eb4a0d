"""The other commands of hf-audio: each one's --help, and what `embed` and `evaluate` do."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time

import numpy as np
import pandas
import pytest
import soundfile
from tagging_models import save_classifier, write_sound
from training_run import WINDOW_S, tiny_model

from hf_audio.commands import embed, evaluate
from hf_audio.commands.main import commands
from hf_audio.commands.main import main as hf_audio_command
from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.errors import InputError
from hf_audio.models.saving import save_extractor, save_model
from hf_audio.models.usage import Usage, write_usage
from hf_audio.predictor import Predictor
from hf_audio.sound_predictor import SoundPredictor


@pytest.mark.parametrize("name", commands())
def test_help_of_a_command_shows_how_it_is_called(name, capsys):
    try:
        hf_audio_command([name, "--help"])
    except SystemExit as end:
        assert not end.code
    said = capsys.readouterr().out
    assert re.search(rf"^ {{4}}hf-audio {name} ", said, re.MULTILINE) and "--" in said


def test_help_of_evaluate_has_two_tiers_and_mistakes_are_one_sentence(capsys):
    flags = {}
    for tier in ("--help", "--help_all"):
        with pytest.raises(SystemExit, match="0"):
            hf_audio_command(["evaluate", tier])
        flags[tier] = re.findall(r"^  (--\w+)", capsys.readouterr().out, re.MULTILINE)
    assert 12 <= len(flags["--help"]) <= 20 and {"--model", "--dataset", "--write_card"} <= {*flags["--help"]}
    assert len(flags["--help_all"]) > 40 and {*flags["--help"]} < {*flags["--help_all"]}
    for argv, sentence in (
        (["tag", "a.wav", "--modle", "M"], "did you mean '--model'"),
        (["tag", "a.wav"], "Missing: --model; see --help"),
        (["tag", "a.wav", "--model", "M", "--format", "jsn"], "Unknown --format 'jsn': did you mean 'json'"),
        (["tag", "a.wav", "--model", "M", "--top_k", "few"], "--top_k must be a whole number, found 'few'"),
        (["leaks", "a", "b"], "Unexpected argument 'b': expected FEATURES, see --help"),
        (["evaluate", "--protocol", "esc-50"], "Unknown --protocol 'esc-50': did you mean 'esc50-folds'"),
    ):
        with pytest.raises(SystemExit, match="2"):
            hf_audio_command(argv)
        assert sentence in capsys.readouterr().err


def test_recordings_are_embedded(tmp_path, caplog):
    model = save_classifier(tmp_path / "model", "cnn")
    path, broken, output = write_sound(tmp_path / "a.wav", 2.3), tmp_path / "b.wav", tmp_path / "found.parquet"
    broken.write_bytes(b"no sound")
    loud, strange = tmp_path / "loud.wav", os.fsencode(tmp_path) + b"/\xff.wav"
    soundfile.write(loud, np.full(8_000, 1e30, np.float32), 16_000, subtype="FLOAT")
    shutil.copy(os.fsencode(path), strange)
    given = [str(broken), str(path), str(loud), os.fsdecode(strange)]
    assert embed.main([*given, "--model", str(model), "--output", str(output)]) == 1
    assert f"{broken}: unreadable" in caplog.text and f"{loud}: the model's outputs are not finite" in caplog.text
    assert "its name is not UTF-8" in caplog.text
    table, predictor = pandas.read_parquet(output), SoundPredictor.load(str(model))
    rule, sound = predictor.windows, soundfile.read(path, dtype="float32")[0]
    np.testing.assert_allclose(table["start_s"], np.array(rule.starts(len(sound))) / 16_000)
    wanted = predictor.embed(predictor.inputs(rule.cut(sound))).numpy()
    np.testing.assert_allclose(np.stack(table["embedding"]), wanted, atol=1e-4)
    assert set(table["file"]) == {str(path)} and table["end_s"].max() <= 2.3
    with pytest.raises(InputError, match="already exists"):
        embed.main([str(path), "--model", str(model), "--output", str(output)])


def test_killed_embedding_resumes_with_batches_over_several_recordings(tmp_path, caplog, monkeypatch, forks):
    model, sounds, output = save_classifier(tmp_path / "model", "cnn"), tmp_path / "sounds", tmp_path / "found.parquet"
    for number in range(120):
        write_sound(sounds / f"{number:03}.wav", 0.4 + 0.1 * (number % 5), seed=number % 3)
    flags = [str(sounds), "--model", str(model), "--output", str(output)]
    process = forks.start("from hf_audio.commands.embed import main; import sys; main(sys.argv[1:])", *flags)
    partial, until = tmp_path / "found.parquet.partial", time.monotonic() + 120
    while not partial.exists() or partial.read_bytes().count(b"\n") < 10:
        assert process.poll() is None and time.monotonic() < until, process.errors
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL and not output.exists()
    with pytest.raises(InputError, match=r"differs in: hop_s was 0\.25 and is now 0\.1; use the earlier ones"):
        embed.main([*flags, "--hop_s", "0.1"])
    embed_of, sizes = SoundPredictor.embed, []
    monkeypatch.setattr(
        SoundPredictor,
        "embed",
        lambda self, inputs: sizes.append(len(inputs["input_values"])) or embed_of(self, inputs),
    )
    num_kept = partial.read_bytes().count(b"\n") - 1
    assert embed.main(flags) == 0 and f"{num_kept} of 120 recordings are already done" in caplog.messages
    table, predictor = pandas.read_parquet(output), SoundPredictor.load(str(model))
    assert max(sizes) == 8 and list(dict.fromkeys(table["file"])) == [str(path) for path in sorted(sounds.iterdir())]
    assert sum(sizes) < len(table) and sorted(os.listdir(tmp_path)) == ["found.parquet", "model", "sounds"]
    for path in sorted(sounds.iterdir())[::17]:
        windows = predictor.windows.cut(soundfile.read(path, dtype="float32")[0])
        wanted = embed_of(predictor, predictor.inputs(windows)).numpy()
        np.testing.assert_allclose(np.stack(table["embedding"][table["file"] == str(path)]), wanted, atol=1e-4)


def test_a_model_is_evaluated_on_features(tiny_features, tiny_folders, tmp_path, capsys):
    save_model(tiny_model(tiny_features), tmp_path / "model")
    save_extractor(tiny_features.extractor, tmp_path / "model")
    write_usage(tmp_path / "model", Usage(None, WINDOW_S, WINDOW_S))
    folder = tmp_path / "evaluation"
    flags = ["--model", str(tmp_path / "model"), "--dataset", str(tiny_folders[SINGLE_LABEL])]
    evaluate.main([*flags, "--output_dir", str(folder)])
    found = Predictor.load(str(tmp_path / "model")).scores(tiny_features, "test")
    accuracy = float((found.logits.argmax(axis=1) == found.targets.argmax(axis=1)).mean())
    assert json.loads((folder / "report.json").read_text())["models"]["model"]["metrics"]["accuracy"][
        "value"
    ] == pytest.approx(accuracy)
    said = capsys.readouterr().out
    assert f"{len(found)} clips of test" in said and f"{accuracy:.3f}" in said and "| bell" in said
