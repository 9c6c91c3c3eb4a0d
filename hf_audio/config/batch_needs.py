"""Which augmentation needs several windows per micro-batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_audio.errors import InputError

# The switch of each augmentation that uses other windows, and its probability
WITH_PARTNERS = {
    "mixup_alpha": "mixup_probability",
    "cutmix_alpha": "cutmix_probability",
    "mixstyle_alpha": "mixstyle_probability",
    "batch_mix_probability": "batch_mix_probability",
}


def require_partners(settings: Mapping[str, Any]) -> None:
    """Refuses augmentation that mixes windows of a micro-batch if it has only one, even if the recipe sets it.

    Args:
        settings: all settings of the run, by name.
    """
    on = [name for name, probability in WITH_PARTNERS.items() if settings.get(name) and settings.get(probability)]
    if on and settings["per_device_train_batch_size"] == 1:
        raise InputError(
            f"--{on[0]} needs other windows in the micro-batch, but --per_device_train_batch_size 1 leaves none: "
            f"give 2 or more, or {' '.join(f'--{name} 0' for name in on)}"
        )
