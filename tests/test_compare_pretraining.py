"""scripts/compare_pretraining.py, on a corpus too small for meaningful scores."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from training_run import build_tiny_features

from hf_audio import InputError, load_features
from hf_audio.data.index.labels import MULTI_LABEL

ROOT = Path(__file__).parents[1]


def test_it_writes_one_table_and_resumes(tmp_path, monkeypatch, capsys):
    features = load_features(build_tiny_features(tmp_path / "features", MULTI_LABEL))
    path = ROOT / "scripts" / "compare_pretraining.py"
    script = importlib.util.module_from_spec(importlib.util.spec_from_file_location("compare_pretraining", path))
    monkeypatch.setitem(sys.modules, "compare_pretraining", script)
    script.__spec__.loader.exec_module(script)
    flags = ["--dataset", features.source, "--output_dir", str(tmp_path), "--seeds", "2", "--train_fraction", "0.2"]
    monkeypatch.setattr(sys, "argv", ["compare_pretraining.py", *flags, "--epochs", "1", "--finetune_epochs", "1"])
    script.main()
    table = (tmp_path / "comparison.md").read_text()
    assert table in capsys.readouterr().out
    rows = [line.split("|")[1:-1] for line in table.splitlines()]
    assert [row[0].strip() for row in rows[2:]] == ["from scratch", "masked patches", "shuffled patches"]
    assert all(len(row) == 5 for row in rows) and "±" in rows[2][1] and not rows[2][3].strip() and "±" in rows[3][4]
    script.main()
    assert table in capsys.readouterr().out, "finished runs are not repeated"
    for argv, sentence in ((["--seed", "2"], "Unknown flag '--seed'"), (["--seeds", "0"], "must be at least 1")):
        monkeypatch.setattr(sys, "argv", ["compare_pretraining.py", *argv])
        with pytest.raises(InputError, match=sentence):
            script.main()
