"""The methods by name: what each computes of a question, and which of them suit a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from hf_audio.errors import InputError, unknown_name
from hf_audio.explaining.attention_rollout import attention_rollout, attentions_of
from hf_audio.explaining.captum_methods import (
    grad_cam,
    input_x_gradient,
    occlusion,
    saliency,
)
from hf_audio.explaining.feature_maps import feature_maps
from hf_audio.explaining.grids import InputGrid
from hf_audio.explaining.integrated_gradients import integrated_gradients
from hf_audio.explaining.questions import Question

PATCHES_OVER_TIME, PATCHES_OVER_BANDS = 20, 8


class MethodSettings(NamedTuple):
    """What the methods can be told.

    Attributes:
        gradient_steps: of integrated gradients.
        occlusion_s: seconds of an occluded patch; None is a 20th of the window.
        occlusion_bands: bands of an occluded patch; None is an eighth of all.
    """

    gradient_steps: int = 32
    occlusion_s: float | None = None
    occlusion_bands: int | None = None


class Relevance(NamedTuple):
    """What a method found.

    Attributes:
        values: float64 `[steps, bands]`: high where it speaks for the class, below 0 against it, if `is_signed`.
        is_signed: whether it tells one from the other.
        missing_logit: of integrated gradients, how far their sum is from the difference of the logits; else None.
    """

    values: np.ndarray
    is_signed: bool
    missing_logit: float | None = None


class Method(NamedTuple):
    """A way to explain.

    Attributes:
        explain: from a question to what was found.
        described: for people.
        check: raises InputError where it does not suit a question.
    """

    explain: Callable[[Question, MethodSettings], Relevance]
    described: str
    check: Callable[[Question], object] = lambda question: None


def _gradient(question: Question, settings: MethodSettings) -> Relevance:
    return Relevance(question.grid.picture(saliency(question)), False)


def _input_x_gradient(question: Question, settings: MethodSettings) -> Relevance:
    return Relevance(question.grid.picture(input_x_gradient(question)), True)


def _integrated_gradients(question: Question, settings: MethodSettings) -> Relevance:
    found, missing_logit = integrated_gradients(question, settings.gradient_steps)
    return Relevance(question.grid.picture(found), True, missing_logit)


def _grad_cam(question: Question, settings: MethodSettings) -> Relevance:
    return Relevance(question.grid.picture(grad_cam(question)), False)


def _rollout(question: Question, settings: MethodSettings) -> Relevance:
    return Relevance(attention_rollout(question), False)


def _occlusion(question: Question, settings: MethodSettings) -> Relevance:
    return Relevance(question.grid.picture(occlusion(question, *patch_of(question.grid, settings))), True)


METHODS = {
    "gradient": Method(_gradient, "where a small change of the input changes the logit most, up or down"),
    "input_x_gradient": Method(_input_x_gradient, "what the logit would lose without each part, were the model linear"),
    "integrated_gradients": Method(
        _integrated_gradients, "what each part adds to the logit on the way from silence to the sound"
    ),
    "grad_cam": Method(
        _grad_cam, "where the last feature maps of a convolutional network speak for the class", feature_maps
    ),
    "rollout": Method(_rollout, "what attention lets through to the head, whatever the class", attentions_of),
    "occlusion": Method(_occlusion, "what the logit loses where a patch falls silent"),
}


def patch_of(grid: InputGrid, settings: MethodSettings) -> tuple[int, int]:
    """Steps and bands of an occluded patch.

    Raises:
        InputError: longer than the window, or more bands than there are.
    """
    if settings.occlusion_bands is not None and grid.is_sound:
        raise InputError("--occlusion_bands has no effect on a model that reads waveforms: leave it out")
    if settings.occlusion_bands is not None and not 1 <= settings.occlusion_bands <= grid.num_bands:
        raise InputError(f"--occlusion_bands is from 1 to {grid.num_bands}, found {settings.occlusion_bands}")
    window_s = grid.num_steps * grid.step_s
    if settings.occlusion_s is not None and not grid.step_s <= settings.occlusion_s <= window_s:
        raise InputError(
            f"--occlusion_s is from {grid.step_s:g} to the window's {window_s:g} s, found {settings.occlusion_s:g}"
        )
    seconds = settings.occlusion_s
    steps = math.ceil(grid.num_steps / PATCHES_OVER_TIME) if seconds is None else round(seconds / grid.step_s)
    return steps, settings.occlusion_bands or math.ceil(grid.num_bands / PATCHES_OVER_BANDS)


def chosen_methods(names: Sequence[str] | None, question: Question) -> tuple[list[str], dict[str, str]]:
    """Those that are asked for; by default all that suit the model, and of the others why they do not.

    Raises:
        InputError: an unknown name, or a method that does not suit the model.
    """
    for name in names or ():
        if name not in METHODS:
            raise unknown_name("method", name, METHODS)
        METHODS[name].check(question)
    if names:
        return list(dict.fromkeys(names)), {}
    unsuited = {}
    for name, method in METHODS.items():
        try:
            method.check(question)
        except InputError as error:
            unsuited[name] = str(error)
    return [name for name in METHODS if name not in unsuited], unsuited
