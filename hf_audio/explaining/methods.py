"""The methods by name: what each one computes, and which of them suit a model."""

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
    """Settings of the methods.

    Attributes:
        gradient_steps: number of steps of integrated gradients.
        occlusion_s: length of an occluded patch in seconds; None is a 20th of the window.
        occlusion_bands: bands of an occluded patch; None is an eighth of all.
    """

    gradient_steps: int = 32
    occlusion_s: float | None = None
    occlusion_bands: int | None = None


class Relevance(NamedTuple):
    """The result of a method.

    Attributes:
        values: float64 `[steps, bands]`: high for evidence for the class, negative for evidence against it. Only signed
            methods have both.
        missing_logit: for integrated gradients, how much their sum differs from the difference of the logits; otherwise
            None.
    """

    values: np.ndarray
    missing_logit: float | None = None


class Method(NamedTuple):
    """A method of explanation.

    Attributes:
        explain: computes the relevance.
        described: a description for readers.
        check: raises InputError if the method does not suit the model.
    """

    explain: Callable[[Question, MethodSettings], Relevance]
    described: str
    check: Callable[[Question], object] = lambda question: None


def _gradient(question: Question, settings: MethodSettings) -> Relevance:
    return Relevance(question.grid.image(saliency(question)))


def _input_x_gradient(question: Question, settings: MethodSettings) -> Relevance:
    return Relevance(question.grid.image(input_x_gradient(question)))


def _integrated_gradients(question: Question, settings: MethodSettings) -> Relevance:
    found, missing_logit = integrated_gradients(question, settings.gradient_steps)
    return Relevance(question.grid.image(found), missing_logit)


def _grad_cam(question: Question, settings: MethodSettings) -> Relevance:
    return Relevance(question.grid.image(grad_cam(question)))


def _rollout(question: Question, settings: MethodSettings) -> Relevance:
    return Relevance(attention_rollout(question))


def _occlusion(question: Question, settings: MethodSettings) -> Relevance:
    return Relevance(question.grid.image(occlusion(question, *patch_of(question.grid, settings))))


METHODS = {
    "gradient": Method(_gradient, "where a small change of the input changes the logit most, up or down"),
    "input_x_gradient": Method(
        _input_x_gradient, "what the logit would lose without each part, if the model were linear"
    ),
    "integrated_gradients": Method(
        _integrated_gradients, "what each part adds to the logit on the path from silence to the sound"
    ),
    "grad_cam": Method(
        _grad_cam, "where the last feature maps of a convolutional network are evidence for the class", feature_maps
    ),
    "rollout": Method(_rollout, "what attention passes on to the head, regardless of the class", attentions_of),
    "occlusion": Method(_occlusion, "what the logit loses when a patch is silenced"),
}


def patch_of(grid: InputGrid, settings: MethodSettings) -> tuple[int, int]:
    """Steps and bands of an occluded patch.

    Raises:
        InputError: a patch longer than the window, or with more bands than there are.
    """
    if settings.occlusion_bands is not None and grid.is_sound:
        raise InputError("--occlusion_bands has no effect on a model that reads waveforms: leave it out")
    if settings.occlusion_bands is not None and not 1 <= settings.occlusion_bands <= grid.num_bands:
        raise InputError(f"--occlusion_bands must be 1 to {grid.num_bands}, found {settings.occlusion_bands}")
    window_s = grid.num_steps * grid.step_s
    if settings.occlusion_s is not None and not grid.step_s <= settings.occlusion_s <= window_s:
        raise InputError(
            f"--occlusion_s must be {grid.step_s:g} to {window_s:g} s, the length of the window, found "
            f"{settings.occlusion_s:g}"
        )
    seconds = settings.occlusion_s
    steps = math.ceil(grid.num_steps / PATCHES_OVER_TIME) if seconds is None else round(seconds / grid.step_s)
    return steps, settings.occlusion_bands or math.ceil(grid.num_bands / PATCHES_OVER_BANDS)


def chosen_methods(names: Sequence[str] | None, question: Question) -> tuple[list[str], dict[str, str]]:
    """The requested methods; by default all that suit the model, and why the others do not.

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
