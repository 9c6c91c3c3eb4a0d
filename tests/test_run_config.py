"""config.yaml of a run: all settings, accepted by --config, and nothing private."""

from __future__ import annotations

import dataclasses
import runpy
import shlex
from pathlib import Path

import pytest
import yaml

from hf_audio import InputError, parse_recipe
from hf_audio.config.reported import REPORTED_FLAGS, reported_command
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.publishing.contents import EXPECTED_LOCAL, model_in
from hf_audio.run_config import CONFIG_FILE, run_config, write_run_config
from hf_audio.stages import settled_loss
from hf_audio.training.argument_roles import DECISIVE_ARGUMENTS

RECIPES = Path(__file__).parents[1] / "recipes"
APART = {"run", "hub", "training", "chosen", "given", "named", "resolved"}
FLAGS = {
    "cnn_folder": ["--freeze", "none", "--num_train_epochs", "3", "--mixup_alpha", "0", "--adam_beta2", "0.98"],
    "ast_irmas": ["--lora_rank", "4", "--model_options", '{"dropout": 0.25}', "--class_weights", "balanced"],
    "lstm_irmas": ["--max_steps", "7", "--lr_schedule", "one_cycle", "--metadata", "genre", "drums", "--fold", "2"],
    "fluffy_irmas": ["--wave_gain_probability", "0.5", "--wave_gain_db", "-6", "3", "--report_to", "none"],
    "svm_irmas": ["--classical_model", "boosting", "--boosting_trees", "20", "--seed", "3", "--num_workers", "2"],
    "pretrain_ast": ["--objective", "shuffled", "--shuffle_fraction", "0.3", "--dataloader_num_workers", "1"],
}


def written(recipe, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    recipe.training.output_dir = str(folder)
    write_run_config(recipe)
    return folder / CONFIG_FILE


def same(one, two) -> None:
    """Asserts that two recipes train and evaluate the same."""
    assert run_config(one) == run_config(two)
    for field in dataclasses.fields(one):
        if field.name not in APART:
            assert getattr(one, field.name) == getattr(two, field.name), field.name


MULTI, SINGLE = (LabelSpace(("a", "b"), kind) for kind in (MULTI_LABEL, SINGLE_LABEL))


@pytest.mark.parametrize("recipe", FLAGS)
def test_a_config_gives_the_same_settings_again(recipe, tmp_path):
    """For a recipe, its demo, and flags of all kinds; the file of the demo needs no --demo."""
    values = runpy.run_path(str(RECIPES / f"{recipe}.py"), run_name="imported")
    demo = values.get("DEMO")
    for flags in ([], ["--demo"] if demo else [], FLAGS[recipe]):
        first = parse_recipe(values["VALUES"], demo, argv=flags)
        path = written(first, tmp_path / "run")
        content = yaml.safe_load(path.read_text())
        assert {*content} - {"recipe"} == {name.removeprefix("--") for name in flags if name.startswith("--")} - {
            "demo"
        }
        same(first, parse_recipe(values["VALUES"], demo, argv=["--config", str(path)]))


def test_the_file_is_readable(tmp_path):
    recipe = parse_recipe(
        {"output_dir": "runs/x", "window_s": 3.0}, argv=["--num_train_epochs", "2", "--freeze", "none"]
    )
    text = written(recipe, tmp_path / "x").read_text()
    assert text.startswith("# All settings of this run. To resume it")
    given, _, of_recipe = text.partition("recipe:\n")
    assert given.split("\n\n")[1].splitlines() == ["freeze: none", "num_train_epochs: 2.0"], "flags come first"
    assert "  output_dir: runs/x\n" in of_recipe and "  window_s: 3.0\n" in of_recipe
    assert "lora_alpha" not in text and "mixup_probability" not in text, "settings without effect are left out"
    assert "dataloader_num_workers" not in text and "use_cpu" not in text, "settings of the machine are left out"


def test_settings_at_the_top_must_act_and_those_below_recipe_need_not(tmp_path):
    (tmp_path / "c.yaml").write_text("mixup_labels: union\n")
    with pytest.raises(InputError, match="--mixup_labels would have no effect here: mixup is off"):
        parse_recipe({"output_dir": "x"}, argv=["--config", str(tmp_path / "c.yaml")])
    (tmp_path / "c.yaml").write_text("seed: 3\nrecipe:\n  seed: 2\n  mixup_labels: union\n")
    recipe = parse_recipe({"output_dir": "x"}, argv=["--config", str(tmp_path / "c.yaml")])
    assert recipe.augment.mixup_labels == "union" and recipe.training.seed == 3 and recipe.given == {"config", "seed"}
    (tmp_path / "c.yaml").write_text("recipe:\n  epochs: 2\n")
    with pytest.raises(InputError, match=r"c\.yaml below `recipe` 'epochs': did you mean 'num_train_epochs'"):
        parse_recipe({"output_dir": "x"}, argv=["--config", str(tmp_path / "c.yaml")])
    (tmp_path / "c.yaml").write_text("recipe: cnn_folder\n")
    with pytest.raises(InputError, match="expected lines of `name: value` below it"):
        parse_recipe({"output_dir": "x"}, argv=["--config", str(tmp_path / "c.yaml")])
    (tmp_path / "c.yaml").write_text("demo: true\n")
    with pytest.raises(InputError, match="has demo, which belongs on the command line"):
        parse_recipe({"output_dir": "x"}, {}, argv=["--config", str(tmp_path / "c.yaml")])


def test_the_file_holds_no_token_and_is_not_published(tmp_path):
    token = "hf_" + "a1" * 17
    recipe = parse_recipe({"output_dir": "x"}, argv=["--push_to_hub", "--hub_model_id", "me/x", "--hub_token", token])
    text = written(recipe, tmp_path / "x").read_text()
    assert token not in text and "hub_" not in text and "push_to_hub" not in text
    assert token not in repr(recipe)
    assert CONFIG_FILE not in model_in(tmp_path / "x") and EXPECTED_LOCAL.fullmatch(CONFIG_FILE), (
        "it is not pushed, without a warning"
    )
    recipe = parse_recipe({"output_dir": "x"}, argv=["--data_dir", f"/data/{token}"])
    with pytest.raises(InputError, match="contains a Hugging Face token"):
        written(recipe, tmp_path / "y")


def test_a_reported_command_has_every_decisive_flag():
    assert set(DECISIVE_ARGUMENTS) <= set(REPORTED_FLAGS)
    argv = ["--lr_scheduler_type", "cosine_with_min_lr", "--lr_scheduler_kwargs", '{"min_lr": 1e-05}']
    argv += ["--dataloader_drop_last", "--eval_delay", "2.0"]
    values = {"output_dir": "runs/x", "corpus": "irmas"}
    command = shlex.split(reported_command(parse_recipe(values, argv=argv), "cnn_folder.py"))[3:]
    assert sorted(command) == sorted(argv)
    assert shlex.split(reported_command(parse_recipe(values, argv=command), "cnn_folder.py"))[3:] == command


def test_a_recipes_logit_adjustment_acts_only_in_single_label_tasks(tmp_path):
    for given, labels, acts in (("", MULTI, 0.0), ("0.5", MULTI, 0.5), ("", SINGLE, 1.0)):
        argv = ["--output_dir", str(tmp_path), *(["--logit_adjustment", given] if given else [])]
        recipe = parse_recipe({"corpus": "folder", "logit_adjustment": 1.0}, argv=[*argv, "--data_dir", str(tmp_path)])
        assert settled_loss(recipe, labels).logit_adjustment == acts
        assert run_config(recipe).get("logit_adjustment", 0.0) == acts


def test_flags_for_rare_classes_replace_settings_of_the_recipe(tmp_path):
    values = {"output_dir": str(tmp_path), "data_dir": str(tmp_path), "corpus": "folder", "logit_adjustment": 1.0}
    assert parse_recipe(values, argv=[]).loss.logit_adjustment == 1
    recipe = parse_recipe(values, argv=["--class_weights", "balanced"])
    assert recipe.loss.logit_adjustment == 0 and recipe.loss.class_weights == "balanced"
    assert "logit_adjustment" not in run_config(recipe) or run_config(recipe)["logit_adjustment"] == 0
    assert parse_recipe(values, argv=["--class_weights", "none"]).loss.logit_adjustment == 1
    with pytest.raises(InputError, match="all make rare classes count more: give only one"):
        parse_recipe(values, argv=["--class_weights", "balanced", "--logit_adjustment", "0.5"])
