"""Gradients, Grad-CAM and occlusion with captum (Kokhlikyan et al. 2020, arXiv 2009.07896), imported only here."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional

from hf_audio.errors import InputError
from hf_audio.explaining.feature_maps import feature_maps
from hf_audio.explaining.questions import Question


def saliency(question: Question) -> Tensor:
    """|gradient| of the logit, with the shape of the input (Simonyan et al. 2014, arXiv 1312.6034)."""
    with question.differentiable():
        return _captum().Saliency(question.logit).attribute(_leaf(question))


def input_x_gradient(question: Question) -> Tensor:
    """(input - baseline) x gradient, with the shape of the input: what the logit would lose without each value, if the
    model were linear."""
    with question.differentiable():
        gradient = _captum().Saliency(question.logit).attribute(_leaf(question), abs=False)
    return gradient * (question.values - question.baseline)


def grad_cam(question: Question) -> Tensor:
    """The positive part of the last feature maps, weighted by their mean gradients and resized to the time and
    frequency axes of the input (Selvaraju et al. 2017, arXiv 1610.02391).

    Raises:
        InputError: no convolution before the head.
    """
    total: Tensor | None = None
    for maps in feature_maps(question):
        with question.differentiable():
            method = _captum().LayerGradCam(question.logit, maps.layer)
            found = method.attribute(_leaf(question), relu_attributions=True).detach()
        mode = "linear" if found.ndim == 3 else "bilinear"
        large = functional.interpolate(found.float(), size=maps.image_size, mode=mode, align_corners=False)
        # networks that pad their input pad at the end
        within = [..., *(slice(length) for length in question.values.shape[-len(maps.image_size) :])]
        inside = large[tuple(within)]
        total = inside if total is None else total + inside
    return total[:, 0] if question.values.ndim < total.ndim else total


def occlusion(question: Question, steps: int, bands: int) -> Tensor:
    """The drop of the logit when a patch of the input is replaced by the baseline, with the shape of the input (Zeiler
    and Fergus 2014, arXiv 1311.2901). Patches do not overlap.

    Args:
        steps, bands: size of a patch.
    """
    values, grid = question.values, question.grid
    size = (steps * grid.samples_per_step,) if grid.is_sound else (steps, bands)
    size = size[::-1] if grid.bins_first else size
    size = (values.shape[1], *size) if values.ndim == 4 else size
    strides = size if len(size) > 1 else size[0]
    with torch.no_grad():
        return (
            _captum()
            .Occlusion(question.logit)
            .attribute(values, size, strides, question.baseline, perturbations_per_eval=question.batch_size)
        )


def _leaf(question: Question) -> Tensor:
    return question.values.detach().clone().requires_grad_()


def _captum() -> ModuleType:
    try:
        import captum.attr
    except ImportError as error:
        raise InputError(
            'Explanations by gradients, Grad-CAM and occlusion need captum: pip install "hf_audio[explain]"'
        ) from error
    return captum.attr
