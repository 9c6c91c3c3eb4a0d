"""How weights are found, beside transformers' own arguments."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class OptimizingConfig:
    """How weights are found, beside transformers' own arguments."""

    _argument_group_name = "optimization"
