"""A trained network with its extractor, applied to sounds: inputs, logits and embeddings of windows.

    predictor = SoundPredictor.load("someone/ast-irmas")
    predictor.waveform(samples, 44_100).logits             per window, from a sound at any sample rate

`Predictor` also reads stored features. Programs that predict only from sound, such as tagging, do not import `datasets`
and start faster.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import soxr
import torch
from torch import Tensor

from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError, one_line
from hf_audio.kinds import Kind, kind_named, kind_of_extractor
from hf_audio.models.foreign_checkpoint import Checkpoint
from hf_audio.models.inputs import model_inputs
from hf_audio.models.lora import is_lora
from hf_audio.models.usage import Usage, usage_in
from hf_audio.predictions import TimedLogits, checked_sound
from hf_audio.windows import SampleWindows

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel


def _checked(device: torch.device | str) -> torch.device:
    """A device, after a test computation on it."""
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = one_line(error)
        raise InputError(
            f"The device {str(device)!r} cannot be used ({reason}): give cpu, or one that this machine has"
        ) from error
    return found


Loaded = TypeVar("Loaded", bound="SoundPredictor")


class SoundPredictor:
    """A trained audio classifier, stock or ours, and the extractor that it was trained with.

    The model is moved to the device, and stays in evaluation mode.

    Args:
        model: any class of AutoModelForAudioClassification, with or without adapters.
        extractor: the model's own extractor, whose statistics normalize all inputs.
        usage: the windows it was trained on, and its decision threshold; see `models/usage.py`.
        name: name for messages.
        device: default: the accelerator if there is one.
        bf16: compute in bfloat16 where that is safe (autocast). Logits are always float32.
        batch_size: windows per forward pass.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        extractor: FeatureExtractionMixin,
        *,
        usage: Usage | None = None,
        name: str | None = None,
        device: torch.device | str | None = None,
        bf16: bool = False,
        batch_size: int = 32,
    ) -> None:
        self.device = torch.device(_checked(device) if device else self._usual_device())
        self.model, self.extractor = model.eval().to(self.device), extractor
        self.usage, self.name = usage or Usage(), name or type(self._bare).__name__
        self.bf16, self.batch_size = bf16, batch_size
        self.untrained: Sequence[str] = ()  # weights of the head that the checkpoint lacks: the outputs are noise
        self.commit: str | None = None  # on the Hub

    @classmethod
    def load(
        cls: type[Loaded],
        name: str,
        *,
        token: str | None = None,
        revision: str | None = None,
        seed: int = 0,
        **options: Any,
    ) -> Loaded:
        """Loads a published or local classifier with its extractor.

        Args:
            name: a run folder or a repository on the Hub.
            token: for a private repository.
            revision: a branch, tag or commit of the repository. Default: its main branch.
            seed: for weights that the checkpoint lacks because it was trained for another task.
            options: arguments of the class, such as `device`.

        Raises:
            InputError: the model does not exist or cannot be used.
        """
        checkpoint = Checkpoint(name, token, revision)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model, absent = checkpoint.load(checkpoint.config)
        usage = usage_in(checkpoint.settings, name)
        found = cls(model, checkpoint.extractor, usage=usage, name=name, **options)
        # Convolutions are faster in the channels-last memory format: on a CPU, 16 windows of the preset cnn take 0.6 of
        # the time
        found.model.to(memory_format=torch.channels_last)
        found.untrained, found.commit = tuple(absent), checkpoint.commit
        return found

    @cached_property
    def labels(self) -> LabelSpace:
        """The model's classes, in the order of its logits."""
        config = self.model.config
        names = tuple(config.id2label[index] for index in range(len(config.id2label)))
        return LabelSpace(names, config.problem_type or SINGLE_LABEL)

    @property
    def decision_threshold(self) -> float:
        """For multi-label models: minimum score of a present class; 0.5 if the config has none."""
        return 0.5 if self.usage.decision_threshold is None else self.usage.decision_threshold

    @property
    def kind(self) -> Kind:
        """The kind of features of its extractor."""
        return kind_of_extractor(self.extractor)

    @property
    def sample_rate(self) -> int:
        """Sample rate of the sounds for its extractor, in Hz."""
        return self.extractor.sampling_rate

    @property
    def is_stereo(self) -> bool:
        """Whether it uses the left and right channels."""
        return bool(getattr(self.extractor, "is_stereo", False))

    @cached_property
    def windows(self) -> SampleWindows:
        """How a sound at its sample rate is cut into windows.

        Raises:
            InputError: its config has no window length.
        """
        if self.usage.window_s is None:
            raise InputError(
                f"{self.name} has no window length (window_s in config.json): create the Predictor "
                "with usage=Usage(window_s=..., hop_s=...), as in training"
            )
        return self.windows_of(self.usage.window_s, self.usage.hop_s or self.usage.window_s)

    def windows_of(self, window_s: float, hop_s: float) -> SampleWindows:
        """How a sound at its sample rate is cut into windows of another length, in seconds."""
        kind = kind_named(self.usage.cut_as) if self.usage.cut_as else self.kind
        return kind.sample_windows(self.extractor.to_dict(), window_s, hop_s)

    def inputs(self, windows: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """The model's inputs, on the CPU, for windows of one length, `[samples]` or `[2, samples]`."""
        return self.kind.inputs_of_sound(windows, self.extractor)

    def logits(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """float32 `[windows, classes]` for the result of `inputs`, in one forward pass."""
        return self._logits(inputs).cpu().numpy()

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """The inputs of the classifier layer: one vector per window, `[batch, size]`.

        For AST, Wav2Vec2 and similar models this is the pooled hidden state. For our own models it is the embedding
        followed by the metadata, which is all unknown.

        Args:
            inputs: outputs of the extractor: `input_values` or `input_features`, and any others.

        Raises:
            InputError: the model has no layer named `classifier`.
        """
        classifier = getattr(self.model, "classifier", None)
        if not isinstance(classifier, torch.nn.Module):
            raise InputError(
                f"{self.name} is a {type(self.model).__name__}, which has no layer named `classifier`, whose input "
                "would be the embedding: use another model"
            )
        given: list[Tensor] = []
        own_thread = threading.get_ident()

        def store(layer: torch.nn.Module, arguments: tuple[Tensor, ...]) -> None:
            if threading.get_ident() == own_thread:  # other threads may run the same model
                given.append(arguments[0])

        hook = classifier.register_forward_pre_hook(store)
        try:
            self._outputs(inputs)
        finally:
            hook.remove()
        return given[-1]

    def waveform(self, samples: np.ndarray, sample_rate: int) -> TimedLogits:
        """Logits of the windows of a sound, cut as in training. Sounds shorter than a frame are padded with silence.

        Args:
            samples: floats in [-1, 1], `[samples]` or `[channels, samples]`. Stereo models use the first two channels,
                others the mean of all.
            sample_rate: in Hz; the sound is resampled with soxr, as for training.

        Raises:
            InputError: the samples are invalid, or the model's window length is unknown.
        """
        rule, sound = self.windows, self.heard(samples, sample_rate)
        windows, size = rule.cut(sound), self.batch_size
        batches = (windows[first : first + size] for first in range(0, len(windows), size))
        logits = [self.logits(self.inputs(batch)) for batch in batches]
        starts_s = np.array(rule.starts(sound.shape[-1])) / self.sample_rate
        return TimedLogits(starts_s, starts_s + rule.window / self.sample_rate, np.concatenate(logits), self.labels)

    def heard(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """A sound in the model's format, float32 `[samples]` or `[2, samples]` at its sample rate; see `waveform`.

        Raises:
            InputError: the samples are invalid.
        """
        sound = checked_sound(samples, sample_rate)
        sound = sound[:2] if self.is_stereo else sound.mean(axis=0, keepdims=True)
        if sample_rate != self.sample_rate:
            sound = soxr.resample(sound.T, sample_rate, self.sample_rate).T
        return sound if len(sound) == 2 else sound[0]

    def _usual_device(self) -> torch.device | str:
        return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"

    @property
    def _bare(self) -> PreTrainedModel:
        """The model without its adapters, if it has any."""
        return self.model.get_base_model() if is_lora(self.model) else self.model

    def _logits(self, batch: dict[str, Any]) -> Tensor:
        """float32 `[batch, classes]`."""
        return self._outputs(batch).logits.float()

    def _outputs(self, batch: dict[str, Tensor]) -> Any:
        inputs = model_inputs(self._bare, batch)
        on_device = {name: value.to(self.device, non_blocking=True) for name, value in inputs.items()}
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.model(**on_device)
