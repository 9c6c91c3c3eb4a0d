"""The three kinds of experiments, as lists of stages. A recipe consists of its values and one of these lists.

Errors that the user can fix end the program with one sentence and exit code 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_audio.errors import clear_errors
from hf_audio.parsing import parse_recipe
from hf_audio.stages import (
    evaluate_run,
    prepare_features,
    prepare_model,
    pretrain_model,
    publish_pretrained,
    publish_run,
    train_classical,
    train_model,
)

Values = Mapping[str, Any]


@clear_errors()
def run_network(values: Values, demo: Values | None = None, *, doc: str = "", argv: list[str] | None = None) -> None:
    """Trains, evaluates and publishes a network, from scratch or from a checkpoint.

    Args:
        values: the recipe's settings; keys are flag names.
        demo: values that override them with `--demo`; None if the recipe has no demo.
        doc: the recipe's docstring, for `--help`.
        argv: the command line without the program; None uses sys.argv.
    """
    recipe = parse_recipe(values, demo, doc, argv)
    features = prepare_features(recipe)
    model = prepare_model(recipe, features)
    trainer = train_model(recipe, model, features)
    report = evaluate_run(recipe, trainer)
    publish_run(recipe, trainer, report)


@clear_errors()
def run_classical(values: Values, demo: Values | None = None, *, doc: str = "", argv: list[str] | None = None) -> None:
    """Fits, evaluates and publishes support vector machines or boosted trees. Arguments: see `run_network`."""
    recipe = parse_recipe(values, demo, doc, argv)
    features = prepare_features(recipe)
    trainer = train_classical(recipe, features)
    report = evaluate_run(recipe, trainer)
    publish_run(recipe, trainer, report)


@clear_errors()
def run_pretraining(
    values: Values, demo: Values | None = None, *, doc: str = "", argv: list[str] | None = None
) -> None:
    """Pretrains a spectrogram transformer without labels, for fine-tuning. Arguments: see `run_network`."""
    recipe = parse_recipe(values, demo, doc, argv)
    features = prepare_features(recipe)
    trainer = pretrain_model(recipe, features)
    publish_pretrained(recipe, trainer)
