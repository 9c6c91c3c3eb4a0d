"""Merges a recipe's settings, the lowest priority first: recipe < --demo < --config FILE.yaml < command line.

Values below `recipe` in that file replace the recipe's own; the config.yaml of a run stores them this way.

A typo in any of these sources is an error that names the nearest flag.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from hf_audio.config import (
    ClassicalConfig,
    CorpusConfig,
    DataConfig,
    HubConfig,
    LossConfig,
    ModelConfig,
    PretrainingConfig,
    Recipe,
    RunConfig,
    ShareConfig,
)
from hf_audio.config.acting import require_acting
from hf_audio.config.batch_needs import require_partners
from hf_audio.config.help_texts import COMMON_FLAGS
from hf_audio.config.rare_classes import replaced_by_given
from hf_audio.config.run import NETWORK_GROUPS, RECORDING_GROUPS
from hf_audio.data.loading.dataset_files import is_feature_folder
from hf_audio.environment import require_working_torchaudio
from hf_audio.errors import InputError
from hf_audio.files import read_yaml
from hf_audio.privacy import remember_token
from hf_audio.settings_parser import SettingsParser, filled, parse_only, parse_over, settings_parser, typed_in
from hf_audio.training.argument_checks import require_makeable, require_of_classical_models, require_useful
from hf_audio.training.arguments import fit_workers, training_defaults

GROUPS = {**RECORDING_GROUPS, **NETWORK_GROUPS, "hub": HubConfig, "run": RunConfig}

ALL_GROUPS = (DataConfig, *GROUPS.values(), PretrainingConfig, ClassicalConfig, ShareConfig)

MAX_YAML_BYTES = 1 << 18


def make_recipe(**settings: Any) -> Recipe:
    """The settings of one run from Python: keywords are the names of flags, and no command line is read.

        recipe = hf_audio.make_recipe(output_dir="runs/mine", data_dir="recordings", model="cnn", num_train_epochs=20)

    Values of another recipe can be among them: `make_recipe(**{**VALUES, "output_dir": "runs/mine"})`.

    Raises:
        InputError: output_dir is missing, a name is unknown (names the nearest), or a value has the wrong type or
            would have no effect.
    """
    if not settings.get("output_dir"):
        raise InputError('A run needs its own folder: give make_recipe an output_dir, e.g. "runs/mine"')
    paths = {name: os.fspath(value) for name, value in settings.items() if isinstance(value, os.PathLike)}
    return parse_recipe({}, argv=[], asked=settings | paths)


def parse_recipe(
    values: Mapping[str, Any],
    demo: Mapping[str, Any] | None = None,
    doc: str = "",
    argv: list[str] | None = None,
    *,
    asked: Mapping[str, Any] | None = None,
) -> Recipe:
    """The settings of one run.

    Args:
        values: the recipe's values; keys are flag names. Flags of PretrainingConfig exist only if one of
            them is among these values. The same holds for ClassicalConfig, whose flags then replace those of models and
            augmentation.
        demo: values that override them with `--demo`; None if the recipe has no demo.
        doc: the recipe's docstring, shown by `--help`.
        argv: the command line without the program; None uses sys.argv.
        asked: the settings of `make_recipe`.

    Raises:
        InputError: an unknown key or flag (names the nearest), or a value of the wrong type.
    """
    require_working_torchaudio()
    argv = sys.argv[1:] if argv is None else argv
    kinds = (*_groups_of({**values, **(asked or {})}), TrainingArguments)
    parser = settings_parser(doc, kinds, has_demo=demo is not None)
    parser.show_first(COMMON_FLAGS.union(values))
    parser.elsewhere = _of_other_recipes(kinds)
    layers = _layers(parser, argv, values, demo, asked or {})
    own, settings = _resolved(parser, layers, argv)
    typed = typed_in(parser, argv)
    given = frozenset({*layers.config, *layers.python, *typed})
    named = given.union(layers.recipe, layers.demo, layers.config_recipe)
    vars(settings).update(fit_workers(vars(settings), named))
    vars(settings).update(replaced_by_given(vars(settings), given))
    _check(settings, given)
    return _recipe(kinds, settings, own, given=given, named=named, made_in_python=asked is not None)


@dataclasses.dataclass(frozen=True)
class _Layers:
    """The values of a run by source: each field overrides those before it, and the command line overrides all.

    Attributes:
        recipe: of the recipe.
        demo: of its demo, with --demo.
        config_recipe: below `recipe` in the file of --config.
        config: others in that file.
        python: of `make_recipe`.
        path: of that file.
    """

    recipe: Mapping[str, Any]
    demo: Mapping[str, Any]
    config_recipe: Mapping[str, Any]
    config: Mapping[str, Any]
    python: Mapping[str, Any]
    path: str

    def of_recipe(self, defaults: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """The layers of the recipe alone, by the names that messages have for their sources."""
        return {"the project's defaults": defaults, "the recipe": self.recipe, "the recipe's demo values": self.demo}

    def all(self, defaults: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """All layers, lowest first, by the names that messages have for their sources."""
        return {
            **self.of_recipe(defaults),
            f"--config {self.path} below `recipe`": self.config_recipe,
            f"--config {self.path}": self.config,
            "make_recipe": self.python,
        }


def _layers(
    parser: SettingsParser,
    argv: list[str],
    values: Mapping[str, Any],
    demo: Mapping[str, Any] | None,
    python: Mapping[str, Any],
) -> _Layers:
    """The values from all sources except the command line, from which only --config and --demo are read."""
    chosen = parse_only(parser, argv, "--config", "--demo")
    if chosen.demo and demo is None:
        raise InputError("This recipe has no demo: run it with --data_dir or --dataset instead of --demo")
    config_recipe, config = _read_config(chosen.config) if chosen.config else ({}, {})
    return _Layers(values, (demo or {}) if chosen.demo else {}, config_recipe, config, python, chosen.config or "")


def _resolved(parser: SettingsParser, layers: _Layers, argv: list[str]) -> tuple[dict[str, Any], argparse.Namespace]:
    """All settings: those of the recipe alone, with which reports compare, and those of the run.

    The run's device and model decide the defaults of other settings, so all sources are read twice.
    """
    defaults = training_defaults()
    own = vars(parse_over(parser, layers.of_recipe(defaults), []))
    first = parse_over(parser, layers.all(defaults), argv)
    defaults = training_defaults(first.use_cpu, getattr(first, "model", None))
    own |= {name: value for name, value in defaults.items() if name not in {*layers.recipe, *layers.demo}}
    return own, parse_over(parser, layers.all(defaults), argv)


def _recipe(
    kinds: Iterable[type],
    settings: argparse.Namespace,
    own: Mapping[str, Any],
    *,
    given: frozenset[str],
    named: frozenset[str],
    made_in_python: bool,
) -> Recipe:
    """The Recipe of parsed settings; see its attributes for `given` and `named`.

    Args:
        own: the settings of the recipe alone; `chosen` has the differences from them.
    """
    resolved = {name: value for name, value in vars(settings).items() if name != "hub_token"}
    push_to_hub, settings.push_to_hub = settings.push_to_hub, False  # the trainer must not push by itself
    token, settings.hub_token = settings.hub_token, None
    remember_token(token)
    _rename_checkpointing(settings)
    found = {kind: filled(kind, settings) for kind in kinds}
    has_adapters = ModelConfig in found and found[ModelConfig].lora_rank > 0
    has_centers = LossConfig in found and found[LossConfig].center_weight > 0
    require_makeable(found[TrainingArguments], given, has_adapters, has_centers)
    return Recipe(
        **{name: found.get(kind) or kind() for name, kind in (GROUPS | {"training": TrainingArguments}).items()},
        pretraining=found.get(PretrainingConfig),
        classical=found.get(ClassicalConfig),
        push_to_hub=push_to_hub,
        token=token,
        chosen={name: value for name, value in resolved.items() if value != own[name]},
        given=given,
        made_in_python=made_in_python,
        named=named,
        resolved=resolved,
        **_known_of_dataset(found[CorpusConfig].dataset),
    )


def _rename_checkpointing(settings: argparse.Namespace) -> None:
    """Moves gradient checkpointing to its new name: transformers warns about the old one, and keeps both equal.

    Releases before 5.23, the only ones for Python 3.10, have just the old name.
    """
    if not hasattr(settings, "activation_checkpointing"):
        return
    for kind in ("", "_kwargs"):
        if getattr(settings, f"activation_checkpointing{kind}") is None:
            setattr(settings, f"activation_checkpointing{kind}", getattr(settings, f"gradient_checkpointing{kind}"))
        setattr(settings, f"gradient_checkpointing{kind}", None)


def _known_of_dataset(dataset: str | list[str] | None) -> dict[str, Any]:
    """Whether --dataset contains built features, if that is known without asking the Hub."""
    if isinstance(dataset, list):
        dataset = dataset[0] if len(dataset) == 1 else None  # several datasets are recordings to be joined
    if dataset is None:
        return {"stored_features": False}
    folder = Path(dataset).expanduser()
    return {"stored_features": is_feature_folder(folder)} if folder.is_dir() else {}


def _check(settings: argparse.Namespace, given: Collection[str]) -> None:
    """Refuses given settings that would have no effect or are impossible, before anything is read or built."""
    values = vars(settings)
    require_useful(given, values)
    require_acting(given, values | _known_of_dataset(values.get("dataset")))
    require_partners(values)
    if "classical_model" in values:
        require_of_classical_models(given)


def parse_settings(
    *kinds: type,
    values: Mapping[str, Any],
    doc: str = "",
    argv: list[str] | None = None,
    program: str | None = None,
    shown: Collection[str] = (),
) -> list[Any]:
    """One filled dataclass of each of `kinds`, for scripts that are not recipes; errors and --help as in parse_recipe.

    Args:
        kinds: the dataclasses.
        values: defaults of the script; keys are flag names.
        doc: the script's docstring, shown by `--help`.
        argv: the command line without the program; None uses sys.argv.
        program: start of the command line; None: a script, by its own name.
        shown: the flags that --help shows; empty: all.
    """
    require_working_torchaudio()
    argv, parser = sys.argv[1:] if argv is None else argv, settings_parser(doc, kinds, program=program)
    if shown:
        parser.show_first(shown)
    namespace = parse_over(parser, {"the script": values}, argv)
    found = vars(namespace)
    require_acting(typed_in(parser, argv), found | _known_of_dataset(found.get("dataset")))
    return [filled(kind, namespace) for kind in kinds]


def _groups_of(values: Mapping[str, Any]) -> tuple[type, ...]:
    """The groups of flags that a recipe with these values has."""

    def names_one_of(group: type) -> bool:
        return any(field.name in values for field in dataclasses.fields(group))

    if names_one_of(ClassicalConfig):
        return (*RECORDING_GROUPS.values(), ClassicalConfig, HubConfig, RunConfig)
    return (*GROUPS.values(), *([PretrainingConfig] if names_one_of(PretrainingConfig) else []))


def _of_other_recipes(kinds: Collection[type]) -> dict[str, str]:
    """The settings that a recipe with these groups lacks because of what it trains, each with that reason."""
    own = "a classical model" if ClassicalConfig in kinds else "a network"
    reasons = {
        f"it is for classical models, and this recipe trains {own}; leave it out": [ClassicalConfig],
        f"it is for networks, and this recipe trains {own}; leave it out": NETWORK_GROUPS.values(),
        "it is for pretraining, and this recipe trains with labels; leave it out": [PretrainingConfig],
    }
    return {
        field.name: reason
        for reason, groups in reasons.items()
        for group in groups
        if group not in kinds
        for field in dataclasses.fields(group)
    }


def _read_config(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of a --config file: those below `recipe`, which replace the recipe's own, and the others."""
    try:
        written = read_yaml(path, MAX_YAML_BYTES)
    except InputError as error:
        raise InputError(f"--config {error}") from None
    base = written.pop("recipe", None) or {}
    if not isinstance(base, dict):
        raise InputError(
            f"--config {path} has `recipe: {base}`, expected lines of `name: value` below it: remove it, or write the "
            "settings there"
        )
    for name in ("config", "demo"):  # both are read before the file
        if name in base or name in written:
            raise InputError(f"--config {path} has {name}, which belongs on the command line: remove it from the file")
    return base, written
