"""Third-party settings files can neither fill the memory nor run code."""

from __future__ import annotations

import os

import pytest
import yaml

from hf_audio import InputError, parse_recipe

VALUES = {"output_dir": "runs/x", "corpus": "folder", "window_s": 0.5, "learning_rate": 1e-4}


class TestFilesOfSettings:
    def read(self, tmp_path, content: str):
        (tmp_path / "mine.yaml").write_text(content)
        return parse_recipe(VALUES, argv=["--config", str(tmp_path / "mine.yaml")])

    def test_a_yaml_bomb_is_refused(self, tmp_path):
        laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in range(1, 10):
            laughs += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
        with pytest.raises(InputError, match="has an alias"):
            self.read(tmp_path, f"{laughs}test_groups: *a9\n")
        with pytest.raises(InputError, match="has an alias"):
            self.read(tmp_path, "model_options: &m {x: *m}\n")  # it would contain itself

    def test_depth_size_and_kind_are_limited(self, tmp_path):
        with pytest.raises(InputError, match="nested more than"):
            self.read(tmp_path, "model_options: " + "[" * 5000)
        with pytest.raises(InputError, match="have at most"):
            self.read(tmp_path, "# " + "x" * (1 << 20))
        with pytest.raises(InputError, match="has an invalid date or number"):
            self.read(tmp_path, "fold: 2001-99-99\n")
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InputError, match="not a regular file"):
            parse_recipe(VALUES, argv=["--config", str(tmp_path / "pipe")])

    def test_tags_create_no_objects(self, tmp_path):
        with pytest.raises(InputError, match="could not determine a constructor"):
            self.read(tmp_path, "fold: !!python/object/apply:os.system [id]\n")

    def test_plain_values_are_read(self, tmp_path):
        content = {"model_options": {"a": {"b": [1, {"c": 2}]}}, "test_groups": ["x", "y"], "class_weights": "balanced"}
        recipe = self.read(tmp_path, yaml.safe_dump(content))
        assert recipe.model.model_options == content["model_options"] and recipe.data.test_groups == ["x", "y"]
