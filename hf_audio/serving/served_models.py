"""The models of a service by their names, each with the thread that runs it."""

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
# On CPUs more windows at a time are no cheaper, and what is computed of them no longer fits into a core's cache.
BATCH_SIZE, CPU_BATCH_SIZE = 32, 8


class ServedModel:
    """A tagger, and its windows in batches."""

    def __init__(self, name: str, tagger: Tagger, allowance: Allowance, metrics: Metrics) -> None:
        self.name, self.tagger = name, tagger
        tagger.predictor.name = name  # for sentences that clients get: where it lies is this machine's alone
        forwards = {LOGITS: partial(_logits, tagger), EMBEDDINGS: partial(_embeddings, tagger)}
        self.batcher = Batcher(
            forwards,
            allowance.batch_size or (CPU_BATCH_SIZE if self.is_on_cpu else BATCH_SIZE),
            num_threads=allowance.workers or (usable_cores() if self.is_on_cpu else 1),
            several=allowance.batching,
            observed=partial(metrics.observe_batch, name),
        )

    def submit(self, kind: str, windows: Tensor) -> Future:
        """What the model says of the windows of a recording: `[windows, classes]` or `[windows, size]`.

        Args:
            windows: float32 `[windows, samples]` or `[windows, 2, samples]`.
        """
        return self.batcher.submit(kind, {SOUND: windows})

    def tags(self, decoded: Decoded, logits: np.ndarray) -> Tags:
        """Tags of a recording, with the logits of its windows."""
        return self.tagger.tags_of(Recording(), decoded.settings, decoded.starts_s, logits, decoded.duration_s)

    def settings(self, **given: Any) -> TagSettings:
        """How a recording is tagged.

        Raises:
            RefusalError: 422, settings that cannot be.
        """
        try:
            return self.tagger.settings(**given)
        except InputError as error:
            raise RefusalError(422, str(error), "setting") from error

    @property
    def is_on_cpu(self) -> bool:
        """Whether it runs on the cores that all threads share."""
        return self.tagger.predictor.device.type == "cpu"

    @property
    def window_s(self) -> float:
        """Length of its windows."""
        return self.tagger.settings().window_s

    def warm_up(self) -> None:
        """One second of noise through all of it: what is broken is found here, and the first request is not slow."""
        shape = (1, 2, self.tagger.sample_rate) if self.tagger.predictor.is_stereo else (1, self.tagger.sample_rate)
        self.submit(LOGITS, 0.01 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).result()

    def described(self) -> dict[str, Any]:
        """What a client needs to know of it."""
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
    """Models of `--model`, in their order; the first is what clients get who name none.

    Args:
        specs: a folder or a name on the Hub each, with a name of its own in front or without: "birds=runs/cnn".
        options: of `hf_audio.load`.

    Raises:
        InputError: no such model, or two of one name.
    """
    named = [split_spec(spec) for spec in specs]
    for name, _ in named:
        if [other for other, _ in named].count(name) > 1:
            raise InputError(f"Two models are called {name}: give each a name of its own, as in --model first={name}")
    served = {name: ServedModel(name, load(place, **options), allowance, metrics) for name, place in named}
    _share_cores(served.values())
    for one in served.values():
        one.warm_up()
    return served


def _share_cores(models: Iterable[ServedModel]) -> None:
    """Each thread of a model gets its part of the cores, in all of this process."""
    most = max((model.batcher.num_threads for model in models if model.is_on_cpu), default=None)
    if most is not None:
        torch.set_num_threads(max(1, usable_cores() // most))


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
    return tagger.predictor.embed(_inputs(tagger, batch)).float().cpu().numpy()
