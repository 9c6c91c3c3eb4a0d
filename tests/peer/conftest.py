"""Marks tests that may fail; see allowed_failures.py."""

from __future__ import annotations

import pytest
from allowed_failures import ALLOWED, OF_STOCK


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        test = item.name.split("[")[0]
        case = getattr(item.cls, "case_name", None)
        for name, reason in OF_STOCK.items():
            if test.startswith(name):
                item.add_marker(pytest.mark.xfail(reason=reason, strict=case == "ast_stock"))
        for (name, cases), reason in ALLOWED.items():
            if test.startswith(name) and case in cases:
                has_subtests = name.startswith("test_training_gradient_checkpointing")  # they fail on their own
                item.add_marker(pytest.mark.xfail(reason=reason, strict=not has_subtests))
