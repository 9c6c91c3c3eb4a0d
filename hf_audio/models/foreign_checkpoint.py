"""The only place where trained models are loaded, from a folder or a Hub repository, which may be untrusted.

transformers' own `from_pretrained` looks for more than weights: adapters that redirect it to any other path or
repository, code, kernels, quantization, generation settings. So the files that are needed are fetched here by name, all
from one commit: the JSON through `foreign_config` and `foreign_extractor`, the weights as safetensors, whose size is
compared with the config. Then the class that the config names gets these weights as tensors. Nothing else in the
repository is read.
"""

from __future__ import annotations

import contextlib
import logging
import re
import struct
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING,
    ASTFeatureExtractor,
    FeatureExtractionMixin,
    PretrainedConfig,
    PreTrainedModel,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)
from transformers.utils import cached_file
from transformers.utils.hub import extract_commit_hash, resolve_revision

from hf_audio.data.foreign.extractor import extractor_class_of, extractor_from_settings
from hf_audio.errors import InputError, one_line
from hf_audio.files import MAX_JSON_BYTES, read_json, read_start
from hf_audio.models.foreign_config import config_from_settings
from hf_audio.models.transformer_backbone import AST, WHISPER
from hf_audio.terminal import named_logger

logger = named_logger(__name__)

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.safetensors")
MAX_SHARDS = 1000
HEAD_PARTS = ("classifier", "projector", "layer_weights")  # of stock classes; checkpoints for other tasks lack them
# How many weights a model may have beyond its checkpoint: a new head, and tables that are not saved. 256 MB.
MAX_NEW_WEIGHTS = 1 << 26
# The largest minimum input size that our networks may pad windows to.
MAX_PADDING = 1 << 20
# For checkpoints that do not name their extractor.
USUAL_EXTRACTORS = {
    AST: ASTFeatureExtractor,
    WHISPER: WhisperFeatureExtractor,
    "wav2vec2-bert": SeamlessM4TFeatureExtractor,
}


class Checkpoint:
    """A trained model's files, all from one commit.

    Args:
        name: name of a folder or a Hub repository.
        token: access token for a private repository. None: the stored token.
        revision: a branch, tag or commit of the repository; by default its main branch.

    Raises:
        InputError: a revision is given for a folder.
    """

    def __init__(self, name: str, token: str | None = None, revision: str | None = None) -> None:
        self.name, self.token = str(name), token
        if revision is not None and Path(self.name).is_dir():
            raise InputError(f"{name} is a folder, which has no revision {revision!r}: leave out the revision")
        self.revision = resolve_revision(self.name, revision, token=token)

    @property
    def commit(self) -> str | None:
        """The Hub commit of its files, since a branch may move; None for a folder.

        If the Hub does not resolve a branch (because of a wrong token, for example), this is the commit in the cache.
        """
        if Path(self.name).is_dir():
            return None
        resolved = getattr(self.revision, "resolved", None)
        return resolved or extract_commit_hash(str(self.path("config.json")), None)

    def path(self, filename: str, *, optional: bool = False) -> Path | None:
        """The local path of a file, which is downloaded if needed; None if the checkpoint has no such file.

        Args:
            optional: also return None if the Hub cannot be reached and the cache does not have the file.

        Raises:
            InputError: the repository does not exist, access is denied, or there is no network.
        """
        try:
            found = cached_file(
                self.name,
                filename,
                token=self.token,
                revision=self.revision,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=not optional,
            )
        except (OSError, ValueError) as error:  # transformers and huggingface_hub raise these two, wrapping others
            reason = str(error).strip().split("\n")[0].split(". ")[0]
            if isinstance(error.__cause__, HFValidationError):
                reason = "it is neither a folder here nor a NAME or USER/NAME on the Hub"
            raise InputError(
                f"Cannot load checkpoint {self.name!r} ({reason}): check the name, the network, and HF_TOKEN if it is "
                "private"
            ) from error
        return None if found is None else Path(found)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The content of config.json. It is untrusted: `config` has the part that is safe to use.

        Raises:
            InputError: the file does not exist, or the checkpoint is an adapter for another model.
        """
        path = self.path("config.json")
        if path is None and self._is_out_of_reach("config.json"):  # do not wait for the next file too
            raise self._lacks("config.json")
        if self.path("adapter_config.json", optional=True) is not None:
            raise InputError(
                f"{self.name} is an adapter for another model: merge the two with peft (merge_and_unload), save the "
                "result, and use that"
            )
        if path is None:
            raise self._lacks("config.json")
        if not Path(self.name).is_dir() and not hasattr(self.revision, "resolved"):
            logger.warning(
                "The Hub did not return the newest commit of %s, perhaps because the token is wrong: using the cached "
                "copy, commit %s",
                self.name,
                self.commit,
            )
        return read_json(path)

    @property
    def config(self) -> PretrainedConfig:
        """A new config with known fields only. Raises InputError, see `config_from_settings`."""
        return config_from_settings(self.settings, self.name)

    @property
    def extractor(self) -> FeatureExtractionMixin:
        """Its feature extractor, with known classes and fields only. Raises InputError if there is none."""
        alone, nested = self.path("preprocessor_config.json"), self.path("processor_config.json", optional=True)
        settings = read_json(nested).get("feature_extractor") if nested else None
        if not isinstance(settings, dict):
            if alone is None:
                raise self._lacks("preprocessor_config.json")
            settings = read_json(alone)
        if "feature_extractor_type" in settings:
            extractor_class = extractor_class_of(settings["feature_extractor_type"], self.name)
        else:
            extractor_class = USUAL_EXTRACTORS.get(self.config.model_type, Wav2Vec2FeatureExtractor)
        return extractor_from_settings(extractor_class, settings, self.name)

    def load(self, config: PretrainedConfig, model_class: type[PreTrainedModel] | None = None):
        """The model of a config, float32, with this checkpoint's weights.

        Args:
            config: `self.config`, perhaps with other classes.
            model_class: by default, the class that AutoModelForAudioClassification maps the config to.

        Returns:
            The model, and the names of its weights that the checkpoint lacks.

        Raises:
            InputError: weights are missing or pickled, or the config needs more weights than there are.
        """
        model_class = model_class or MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING[type(config)]
        weights = self.weights()
        self._check_size(model_class, config, sum(one.numel() for one in weights.values()))
        options = {"dtype": torch.float32, "ignore_mismatched_sizes": True, "output_loading_info": True}
        try:
            with _no_load_report():
                model, report = model_class.from_pretrained(None, config=config, state_dict=weights, **options)
        except Exception as error:  # numbers out of range can cause any error
            raise self._unusable(one_line(error)) from error
        model.config.name_or_path = model.name_or_path = self.name
        absent = _absent(report)
        lost = [key for key in absent if not is_of_head(key) and not key.endswith("embed_positions.weight")]
        if lost:
            raise InputError(
                f"{self.name} lacks {len(lost)} weights of its encoder, such as {lost[0]}: use a checkpoint that was "
                f"trained as a {config.model_type} model"
            )
        return model, absent

    def weights(self) -> dict[str, Tensor]:
        """All of its tensors, which stay on disk until they are used.

        Raises:
            InputError: there are no safetensors files, or they are invalid.
        """
        tensors: dict[str, Tensor] = {}
        header_bytes = 0
        for path in self._weight_files():
            header_bytes += struct.unpack("<Q", read_start(path, 8).ljust(8, b"\xff"))[0]
            if header_bytes > MAX_JSON_BYTES:
                raise self._unusable(f"{path.name} is not a safetensors file, or its header is too long")
            try:
                tensors |= load_file(path)
            except (SafetensorError, OSError, ValueError, AttributeError) as error:
                raise self._unusable(f"{path.name} is not a safetensors file: {one_line(error)}") from error
        return tensors

    def _weight_files(self) -> list[Path]:
        whole = self.path(WEIGHTS)
        if whole is not None:
            return [whole]
        index = self.path(INDEX)
        if index is None and self._is_out_of_reach(WEIGHTS):
            raise self._lacks(WEIGHTS)
        if index is None:
            raise InputError(
                f"Cannot load checkpoint {self.name!r} (it has no model.safetensors, and pickled weights are not "
                "loaded): use another checkpoint, or convert it at https://huggingface.co/spaces/safetensors/convert"
            )
        names = read_json(index).get("weight_map")
        names = list(names.values()) if isinstance(names, dict) else [None]
        if not all(isinstance(name, str) and SHARD_NAME.fullmatch(name) for name in names):
            raise self._unusable(f"{INDEX} must only name safetensors files in the same folder")
        files = [self.path(name) for name in sorted(set(names))]
        if not files or len(files) > MAX_SHARDS or None in files:
            raise self._unusable(f"{INDEX} names {len(files)} files, not all of which exist")
        return files

    def _check_size(self, model_class: type[PreTrainedModel], config: PretrainedConfig, num_held: int) -> None:
        """Raises InputError if a model of this config would be much larger than the weights of the checkpoint."""
        try:
            with torch.device("meta"):
                model = model_class(config)
        except Exception as error:  # numbers out of range can cause any error
            raise self._unusable(f"its config.json does not match {model_class.__name__}: {one_line(error)}") from error
        num_wanted = sum(one.numel() for one in (*model.parameters(), *model.buffers()))
        if num_wanted > num_held + MAX_NEW_WEIGHTS:
            raise self._unusable(f"its config.json needs {num_wanted:,} weights, but its files have {num_held:,}")
        padded = max(getattr(model, "min_samples", 0), getattr(model, "min_size", 0))
        if padded > MAX_PADDING:
            raise self._unusable(f"it would pad every window to {padded:,} values")

    def _is_out_of_reach(self, filename: str) -> bool:
        """Whether a file may exist although `path` returns None, because the Hub could not be reached."""
        if Path(self.name).is_dir():
            return False
        revision = getattr(self.revision, "resolved", self.revision)
        return try_to_load_from_cache(self.name, filename, revision=revision) is not _CACHED_NO_EXIST

    def _lacks(self, filename: str) -> InputError:
        if not self._is_out_of_reach(filename):
            return self._unusable(f"it has no {filename}")
        return InputError(
            f"Cannot load checkpoint {self.name!r} (it is not a folder here, the Hub cannot be reached, and the cache "
            f"does not have its {filename}): check the name, the network, and whether HF_HUB_OFFLINE is set"
        )

    def _unusable(self, reason: str) -> InputError:
        return InputError(f"Cannot load checkpoint {self.name!r} ({reason}): use another, or fix its files")


def is_of_head(name: str) -> bool:
    """Whether a weight of an audio classifier, stock or ours, belongs to its head."""
    return name.split(".")[0] in HEAD_PARTS


@contextlib.contextmanager
def _no_load_report() -> Iterator[None]:
    """Keeps transformers from listing missing and unused weights, which may be hundreds for a decoder; those that
    matter are checked here."""
    logger = logging.getLogger("transformers.modeling_utils")

    def is_worse(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    logger.addFilter(is_worse)  # a filter, since with another log level transformers would check and list even more
    try:
        yield
    finally:
        logger.removeFilter(is_worse)


def _absent(report: dict) -> list[str]:
    """Names of weights that were not in a checkpoint, or had another shape there."""
    mismatched = [entry if isinstance(entry, str) else entry[0] for entry in report["mismatched_keys"]]
    return sorted({*report["missing_keys"], *mismatched})
