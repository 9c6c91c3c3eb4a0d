"""The models of a service by name, each with the threads that run it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_audio.environment import usable_cores
from hf_audio.errors import InputError
from hf_audio.privacy import public_name
from hf_audio.serving.allowance import Allowance
from hf_audio.serving.batching import Batcher
from hf_audio.serving.decoding import Decoded
from hf_audio.serving.metrics import Metrics
from hf_audio.serving.refusal import RefusalError
from hf_audio.tagging.loading import load
from hf_audio.tagging.settings import TagSettings
from hf_audio.tagging.sounds import Recording
from hf_audio.tagging.tagger import Tagger
from hf_audio.tagging.tags import Tags

NAME = re.compile(r"[\w.-]{1,100}")
LOGITS, EMBEDDINGS = "logits", "embeddings"
SOUND = "sound"
# On CPUs, larger batches are not faster per window, and their activations no longer fit into a core's cache.
BATCH_SIZE, CPU_BATCH_SIZE = 32, 8


class ServedModel:
    """A tagger that runs its windows in batches."""

    def __init__(self, name: str, tagger: Tagger, allowance: Allowance, metrics: Metrics) -> None:
        self.name, self.tagger = name, tagger
        tagger.predictor.name = name  # in messages to clients, instead of a path on this machine
        forwards = {LOGITS: partial(_logits, tagger), EMBEDDINGS: partial(_embeddings, tagger)}
        self.batcher = Batcher(
            forwards,
            allowance.batch_size or (CPU_BATCH_SIZE if self.is_on_cpu else BATCH_SIZE),
            num_threads=allowance.workers or (usable_cores() if self.is_on_cpu else 1),
            several=allowance.batching,
            observed=partial(metrics.observe_batch, name),
        )

    def submit(self, kind: str, windows: Tensor) -> Future:
        """The model's outputs for the windows of a recording: `[windows, classes]` or `[windows, size]`.

        Args:
            windows: float32 `[windows, samples]` or `[windows, 2, samples]`.
        """
        return self.batcher.submit(kind, {SOUND: windows})

    def tags(self, decoded: Decoded, logits: np.ndarray) -> Tags:
        """Tags of a recording, from the logits of its windows."""
        return self.tagger.tags_of(Recording(), decoded.settings, decoded.starts_s, logits, decoded.duration_s)

    def settings(self, **given: Any) -> TagSettings:
        """How a recording is tagged.

        Raises:
            RefusalError: 422, invalid settings.
        """
        try:
            return self.tagger.settings(**given)
        except InputError as error:
            raise RefusalError(422, str(error), "setting") from error

    @property
    def is_on_cpu(self) -> bool:
        """Whether it runs on the CPU, whose cores all threads share."""
        return self.tagger.predictor.device.type == "cpu"

    @property
    def window_s(self) -> float:
        """Length of its windows in seconds."""
        return self.tagger.settings().window_s

    def warm_up(self) -> None:
        """Runs one second of noise, so that errors are found now and the first request is not slow."""
        shape = (1, 2, self.tagger.sample_rate) if self.tagger.predictor.is_stereo else (1, self.tagger.sample_rate)
        self.submit(LOGITS, 0.01 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).result()

    def described(self) -> dict[str, Any]:
        """The facts that clients need, as in `/v1/models`."""
        return {
            "name": self.name,
            "labels": list(self.tagger.labels.names),
            "multi_label": self.tagger.labels.is_multi_label,
            "sample_rate": self.tagger.sample_rate,
            "threshold": self.tagger.threshold,
            "window_s": self.window_s,
            "hop_s": self.tagger.settings().hop_s,
        }


def load_models(specs: Sequence[str], allowance: Allowance, metrics: Metrics, **options: Any) -> dict[str, ServedModel]:
    """Loads the models of `--model`, in their order. The first is the default for clients.

    Args:
        specs: folders or names on the Hub, optionally after a name for clients: "birds=runs/cnn".
        options: options of `hf_audio.load`.

    Raises:
        InputError: a model does not exist, or two have the same name.
    """
    named = [split_spec(spec) for spec in specs]
    for name, _ in named:
        if [other for other, _ in named].count(name) > 1:
            raise InputError(f"Two models are named {name}: give them different names, as in --model first={name}")
    served = {name: ServedModel(name, load(place, **options), allowance, metrics) for name, place in named}
    _share_cores(served.values())
    for one in served.values():
        one.warm_up()
    return served


def _share_cores(models: Iterable[ServedModel]) -> None:
    """Divides the cores between the threads of a model, for the whole process."""
    num_threads = max((model.batcher.num_threads for model in models if model.is_on_cpu), default=None)
    if num_threads is not None:
        torch.set_num_threads(max(1, usable_cores() // num_threads))


def split_spec(spec: str) -> tuple[str, str]:
    """(name, folder or Hub name) of one `--model`.

    >>> split_spec("birds=runs/cnn"), split_spec("someone/ast")
    (('birds', 'runs/cnn'), ('someone/ast', 'someone/ast'))
    """
    name, equals, place = spec.partition("=")
    if equals and NAME.fullmatch(name):
        return name, place
    return public_name(spec), spec


def _inputs(tagger: Tagger, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return tagger.predictor.inputs(list(batch[SOUND].numpy()))


def _logits(tagger: Tagger, batch: Mapping[str, Tensor]) -> np.ndarray:
    return tagger.logits(_inputs(tagger, batch))


def _embeddings(tagger: Tagger, batch: Mapping[str, Tensor]) -> np.ndarray:
    return tagger.embeddings(_inputs(tagger, batch))
