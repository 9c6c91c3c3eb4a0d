"""OUTPUT_DIR/config.yaml: all settings of a run, to read, to compare, and to pass to --config.

Settings given by the user are at the top; --config treats them as given again. The settings of the recipe and the
defaults are below `recipe:`; --config treats them as a recipe's own. The file omits settings that would have no effect,
settings about publishing, and settings that depend on the machine unless the user set them. It contains paths of the
user, so it is never published.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from transformers import TrainerCallback

from hf_audio.config import Recipe
from hf_audio.config.acting import idle
from hf_audio.config.data import SEVERAL
from hf_audio.config.needs import as_typed
from hf_audio.config.reported import SETTINGS
from hf_audio.privacy import write_published
from hf_audio.ranks import process_state
from hf_audio.training.argument_checks import OF_ADAM
from hf_audio.training.argument_roles import BATCH_ARGUMENTS, DECISIVE_ARGUMENTS, MACHINE_ARGUMENTS

CONFIG_FILE = "config.yaml"
DECIDES = {
    *(field.name for field in SETTINGS),
    *DECISIVE_ARGUMENTS,
    *BATCH_ARGUMENTS,
    *("output_dir", "streaming", "license", "searched_trials"),
}
IF_NAMED = {*MACHINE_ARGUMENTS, "track_pictures"}
OF_A_CLASSICAL_MODEL = {"seed", "output_dir", "license", "searched_trials", "streaming"}
NOT_OF_NETWORKS = ("report_to", "use_cpu", "log_level", "disable_tqdm")

HEADER = """\
# All settings of this run. To resume it, or to repeat it in another folder:
#     {command}
#     {command} --output_dir ELSEWHERE
# At the top: settings from the command line or --config. Below `recipe`: settings of the recipe, and defaults.
# Settings that would have no effect and settings about publishing are omitted. This file is not published.
"""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


class WrittenConfig(TrainerCallback):
    """Writes the file as soon as the run has claimed its folder."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def on_train_begin(self, args, state, control, **kwargs):
        write_run_config(self.recipe)


def write_run_config(recipe: Recipe) -> None:
    """Writes config.yaml into the run folder, in the first process. Trials of a search have none.

    Raises:
        InputError: a setting contains a token.
    """
    if recipe.run.trial or not process_state().is_main_process:
        return
    settings = run_config(recipe)
    given = {name: value for name, value in settings.items() if name in recipe.given}
    others = {name: value for name, value in settings.items() if name not in given}
    path = recipe.run_folder / CONFIG_FILE
    text = HEADER.format(command=_command(path))
    for part in ([given] if given else []) + [{"recipe": others}]:
        text += "\n" + yaml.dump(part, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    write_published(path, text)


def run_config(recipe: Recipe) -> dict[str, Any]:
    """The settings in config.yaml by name, as --config takes them."""
    settings = recipe.resolved | {"stored_features": recipe.stored_features}
    idle_ones = {name for name, _ in idle(settings)}
    if "adam" not in as_typed(settings["optim"]):
        idle_ones |= {*OF_ADAM}
    if recipe.corpus.dataset is not None:  # the commit that was resolved
        settings["dataset_revision"] = recipe.corpus.dataset_revision
    return {
        name: _plain(name, value)
        for name, value in settings.items()
        if _is_written(name, recipe) and name not in idle_ones
    }


def _is_written(name: str, recipe: Recipe) -> bool:
    if recipe.classical and name not in {field.name for field in SETTINGS}:
        return name in OF_A_CLASSICAL_MODEL or (name in NOT_OF_NETWORKS and name in recipe.named)
    return name in DECIDES or (name in IF_NAMED and name in recipe.named)


def _plain(name: str, value: Any) -> Any:
    """A value in plain types for YAML."""
    if isinstance(value, Mapping):
        return {key: _plain(name, one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        plain = [_plain(name, one) for one in value]
        return plain[0] if name in SEVERAL and len(plain) == 1 else plain
    return value if value is None or isinstance(value, bool | int | float) else str(as_typed(value))


def _command(path: Path) -> str:
    """The command that resumes the run."""
    script = Path(sys.argv[0]).name
    script = script if re.fullmatch(r"[\w-]+\.py", script) else "RECIPE.py"
    return shlex.join(["accelerate", "launch", f"recipes/{script}", "--config", str(path)])
