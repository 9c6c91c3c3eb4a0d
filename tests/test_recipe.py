"""Settings: order of sources, typos, help, and errors that end a program with one sentence."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from hf_audio import InputError, parse_recipe
from hf_audio.parsing import ALL_GROUPS

ROOT = Path(__file__).parents[1]
VALUES = {"output_dir": "runs/x", "corpus": "irmas", "window_s": 3.0, "learning_rate": 1e-4, "mixup_alpha": 0.3}


def test_recipe_demo_file_and_command_line_override_in_this_order(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("learning_rate: 1e-3\nmixup_alpha: 0.1\n")
    demo = {"corpus": "general_midi", "learning_rate": 5e-4}
    assert parse_recipe(VALUES, demo, argv=[]).data.corpus == "irmas"
    recipe = parse_recipe(VALUES, demo, argv=["--demo", "--config", str(config), "--mixup_alpha", "0.2"])
    assert recipe.data.corpus == "general_midi", "the demo overrides the recipe"
    assert recipe.training.learning_rate == 1e-3, "the file overrides the demo"
    assert recipe.augment.mixup_alpha == 0.2, "the command line overrides the file"
    assert recipe.features.window_s == 3.0


def test_publishing_is_not_left_to_trainer():
    recipe = parse_recipe(VALUES, argv=["--push_to_hub", "--hub_model_id", "me/x"])
    assert recipe.push_to_hub and not recipe.training.push_to_hub
    assert recipe.training.hub_model_id == "me/x"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--windows_s", "3"], "Unknown flag '--windows_s': did you mean '--window_s'"),
        (["--lerning_rate=3"], "Unknown flag '--lerning_rate': did you mean '--learning_rate'"),
        (["--window_s", "long"], "--window_s must be a number, found 'long'"),
        (["--window_s"], "--window_s needs a value, see --help"),
        (["--lr", "3"], "'--lr': did you mean '--learning_rate'"),
        (["--epochs", "3"], "did you mean '--num_train_epochs'"),
        (["--batch-size", "3"], "did you mean '--per_device_train_batch_size'"),
        (["--lora", "3"], "did you mean '--lora_rank'"),
        (["--gpus", "3"], "'--gpus': .*accelerate launch --num_processes 4"),
        (["--learn", "3"], "did you mean '--learning_rate'"),
        (["--xyzzy", "3"], "Unknown flag '--xyzzy': --help_all lists all"),
        (["--loss", "focl"], "Unknown --loss 'focl': did you mean 'focal'"),
        (["--features", "mfcc"], "Unknown --features 'mfcc': expected one of: classical, fbank, spectrogram, waveform"),
        (["--optim", "adamw_fussed"], "Unknown --optim 'adamw_fussed': did you mean 'adamw_"),
        (["recordings"], "Unexpected argument 'recordings'"),
        (["--demo"], "no demo"),
        (["--config", "nowhere.yaml"], "--config nowhere.yaml cannot be read: No such file"),
    ],
)
def test_mistakes_on_the_command_line_are_one_sentence(argv, sentence):
    with pytest.raises(InputError, match=sentence):
        parse_recipe(VALUES, argv=argv)


def test_unknown_keys_of_recipe_and_file_are_refused(tmp_path):
    with pytest.raises(InputError, match="setting in the recipe 'lora_ranks': did you mean 'lora_rank'"):
        parse_recipe({**VALUES, "lora_ranks": 8}, argv=[])
    (tmp_path / "c.yaml").write_text("mixup_alfa: 1\n")
    with pytest.raises(InputError, match="'mixup_alfa': did you mean 'mixup_alpha'"):
        parse_recipe(VALUES, argv=["--config", str(tmp_path / "c.yaml")])
    (tmp_path / "c.yaml").write_text("epochs: 1\n")
    with pytest.raises(InputError, match="'epochs': did you mean 'num_train_epochs'"):
        parse_recipe(VALUES, argv=["--config", str(tmp_path / "c.yaml")])
    (tmp_path / "c.yaml").write_text("optim: adamw_fussed\n")
    with pytest.raises(InputError, match="Unknown --optim 'adamw_fussed'"):
        parse_recipe(VALUES, argv=["--config", str(tmp_path / "c.yaml")])
    (tmp_path / "c.yaml").write_text("just text\n")
    with pytest.raises(InputError, match="must contain lines of `name: value`, found a str"):
        parse_recipe(VALUES, argv=["--config", str(tmp_path / "c.yaml")])


def run(recipe: str, *argv: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "recipes" / recipe), *argv],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )


def test_help_shows_common_flags_and_help_all_the_rest(forks):
    result = forks.run(ROOT / "recipes" / "ast_folder.py", "--help")
    assert result.returncode == 0, result.errors
    assert "usage: accelerate launch recipes/ast_folder.py [--flag" in result.output
    assert "--window_s" in result.output and "[ast-mini]" in result.output
    flags = re.findall(r"^  (--\w+)", result.output, re.MULTILINE)
    assert 25 <= len(flags) <= 45 and "--mixup_alpha" in flags, "common flags, and those this recipe sets"
    assert "--deepspeed" not in flags and "--wave_gain_db" not in flags, "rare flags only with --help_all"
    assert "--freeze {none,backbone,convolutional}" in result.output, "choices are listed"
    assert re.search(r"augmentation \(\d+ more with --help_all\):", result.output)
    everything = forks.run(ROOT / "recipes" / "ast_folder.py", "--help_all").output
    assert "--deepspeed" in everything and "--wave_gain_db" in everything and len(everything) > 3 * len(result.output)
    assert "--demo" not in re.findall(r"^  (--\w+)", everything, re.MULTILINE), "this recipe has no demo"
    assert "features once they are built; model, card and report when the run ends" in " ".join(everything.split())


def test_choices_of_settings_are_complete():
    """Settings cannot import the code that they name, so the two are compared here."""
    from hf_audio.augment import cutmix, filter_augment
    from hf_audio.classical_models.training import DEFAULTS
    from hf_audio.config.setting import choices_of
    from hf_audio.extractors.spectrogram import NORMALIZATIONS
    from hf_audio.models.freezing import FREEZABLE
    from hf_audio.models.heads import HEADS
    from hf_audio.models.spectrogram_pretraining import OBJECTIVES

    choices = {name: set(found) for group in ALL_GROUPS for name, found in choices_of(group).items()}
    assert choices["head"] == set(HEADS) and choices["freeze"] == set(FREEZABLE)
    assert choices["normalization"] == set(NORMALIZATIONS) and choices["classical_model"] == set(DEFAULTS)
    assert choices["cutmix_shape"] == set(cutmix.SHAPES) and choices["filter_augment_type"] == set(filter_augment.BANDS)
    assert choices["objective"] == set(OBJECTIVES)


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_help_of_a_script_shows_its_commands(script, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # benchmarks set it if it is unset, and it would stay set
    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.setattr(sys, "argv", [script.name, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    command = re.search(r"`(hf-audio [\w -]+)` as a script", script.read_text())
    assert end.value.code in (None, 0)
    assert (command[1] if command else f"python scripts/{script.name}") in capsys.readouterr().out


def test_an_input_error_is_one_sentence_and_exit_code_2():
    result = run("ast_folder.py", "--data_dri", "x")
    assert result.returncode == 2
    assert result.stderr.strip() == "error: Unknown flag '--data_dri': did you mean '--data_dir'?"


def test_a_broken_torchaudio_is_one_sentence(tmp_path):
    (tmp_path / "torchaudio.py").write_text("raise OSError('libc10_cuda.so: cannot open shared object file')")
    result = run("ast_folder.py", "--data_dir", "x", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert result.returncode == 2
    assert "are incompatible (libc10_cuda.so" in result.stderr
    assert 'pip install "torch>=2.13,<2.16"' in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, "one sentence without a stack trace"
