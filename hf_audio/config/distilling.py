"""What else than labels a network learns from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class DistillingConfig:
    """What else than labels a network learns from."""

    _argument_group_name = "distillation"
