"""The only place where models and extractors are saved, since saved files are published.

transformers writes all fields of a config, which may come from an untrusted checkpoint: for example an `auto_map` to
third-party code, which users of the published model would run. Here, the saved JSON names only the code that was copied
to the same folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING, FeatureExtractionMixin, PreTrainedModel

from hf_audio.data.foreign.extractor import own_extractors
from hf_audio.files import read_json, write_json
from hf_audio.models.classifier import AudioClassifierConfig

# Fields, at any depth of the JSON, that make transformers fetch code, kernels or weights from elsewhere.
LEADS_ELSEWHERE = {
    *("auto_map", "custom_pipelines", "transformers_weights", "fusion_config", "_name_or_path", "name_or_path"),
    *("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation"),
    *("_attn_implementation_internal", "_experts_implementation_internal"),
}
REMOTE_CODE = "transformers_modules"  # the package for code that transformers loads from repositories


def save_model(model: PreTrainedModel, folder: str | Path, state_dict: Mapping[str, Tensor] | None = None) -> None:
    """Writes weights and config.json, and for our own classes the files that define them.

    Args:
        state_dict: the weights, if the model's own are sharded over processes.
    """
    model.save_pretrained(folder, state_dict=state_dict)
    _rewrite(Path(folder) / "config.json", model.config, model)


def save_extractor(extractor: FeatureExtractionMixin, folder: str | Path) -> None:
    """Writes preprocessor_config.json, and for our own classes the files that define them."""
    extractor.save_pretrained(folder)
    _rewrite(Path(folder) / "preprocessor_config.json", extractor)


def needs_own_code(config: Mapping[str, Any], extractor: Mapping[str, Any]) -> bool:
    """Whether a saved model needs the Python files in its folder, that is, trust_remote_code.

    Args:
        config: the content of its config.json; empty if there is none.
        extractor: the content of its preprocessor_config.json, or the extractor's `to_dict()`.
    """
    own = {one.model_type for one in MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING if issubclass(one, AudioClassifierConfig)}
    return config.get("model_type") in own or extractor.get("feature_extractor_type") in own_extractors()


def _rewrite(path: Path, *objects: Any) -> None:
    """Removes fields that point elsewhere from a JSON file, and names the code of these objects' classes in its
    folder."""
    content = read_json(path)
    kept = _without(content)
    auto_map = {
        one._auto_class: f"{type(one).__module__.rpartition('.')[2]}.{type(one).__name__}"
        for one in objects
        if one._auto_class is not None and not type(one).__module__.startswith(REMOTE_CODE)
    }
    if auto_map:
        kept["auto_map"] = auto_map
    if kept != content:
        write_json(path, kept)


def _without(content: Any) -> Any:
    """The same JSON without fields that point elsewhere."""
    if isinstance(content, dict):
        return {key: _without(value) for key, value in content.items() if key not in LEADS_ELSEWHERE}
    return [_without(one) for one in content] if isinstance(content, list) else content
