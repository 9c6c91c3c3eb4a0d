"""A license that forbids redistribution also forbids it for features and models made from the recordings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from corpus_trees import irmas_tree
from huggingface_hub import DatasetCard

import hf_audio
from hf_audio import InputError, parse_recipe
from hf_audio.publishing.licenses import hub_licenses
from hf_audio.publishing.push import push_features

VALUES = {"output_dir": "runs/x", "corpus": "folder", "window_s": 0.5, "learning_rate": 1e-4}


@pytest.fixture
def features(small_features, tmp_path) -> Path:
    return shutil.copytree(small_features, tmp_path / "features")


@pytest.fixture(scope="module")
def mixed(named_recordings, tmp_path_factory) -> dict[str, object]:
    """Settings of own recordings with negatives that must not be redistributed."""
    irmas = irmas_tree(tmp_path_factory.mktemp("irmas"), duration_s=0.5)
    return {
        **{"data_dir": str(named_recordings), "negatives": "irmas", "negatives_dir": str(irmas)},
        **{"several_labels": True, "num_workers": 1},
    }


class TestLicenses:
    def test_negatives_keep_their_license(self, mixed, hub, token, tmp_path):
        folder = hf_audio.build_corpus_features(
            hf_audio.DataConfig(**mixed), tmp_path / "features", hf_audio.FeatureConfig(window_s=0.5, num_mel_bins=32)
        )
        corpus = json.loads((folder / "manifest.json").read_text())["corpus"]
        assert corpus["license"] == "unknown"
        assert [(one["license"], one["may_redistribute"]) for one in corpus["others"]] == [("CC BY-NC-SA 3.0", False)]
        for named in (None, "unknown", ["unknown", "MIT"]):
            with pytest.raises(InputError, match=r"would be public, but IRMAS is under 'CC BY-NC-SA 3\.0'"):
                push_features(folder, "alice/mixed", public_license=named)
        assert ("datasets", "alice/mixed") not in hub.storage.repos
        push_features(folder, "alice/mixed", public_license=["CC BY-NC-SA 3.0", "unknown"])
        card = DatasetCard(hub.repo("datasets", "alice/mixed").read("README.md").decode())
        assert (card.data.license, card.data.license_name) == ("other", "unknown-and-cc-by-nc-sa-3.0")
        assert "IRMAS is CC BY-NC-SA 3.0" in card.text
        assert "Bosch" in card.text, "its authors are cited"

    def test_the_license_of_negatives_is_checked_before_any_work_is_done(self, mixed, hub, token, tmp_path):
        argv = ["--output_dir", str(tmp_path / "run"), "--push_to_hub", "--public_license", "unknown"]
        recipe = parse_recipe({**VALUES, **mixed, "hub_model_id": "alice/m"}, argv=argv)
        with pytest.raises(InputError, match="IRMAS is under"):
            hf_audio.prepare_features(recipe)
        assert not (tmp_path / "run").exists() and ("models", "alice/m") not in hub.storage.repos

    def test_several_licenses_can_be_named(self):
        recipe = parse_recipe(VALUES, argv=["--push_to_hub", "--public_license", "CC BY 4.0", "CC BY-NC-SA 3.0"])
        assert recipe.hub.public_license == ["CC BY 4.0", "CC BY-NC-SA 3.0"]

    def test_redistribution_is_forbidden_unless_the_manifest_says_true(self, hub, token, features):
        manifest = json.loads((features / "manifest.json").read_text())
        manifest["corpus"]["may_redistribute"] = "no"
        (features / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(InputError, match=r"corpus\.may_redistribute is 'no'"):
            push_features(features, "alice/x")

    def test_a_card_names_one_license_or_all(self):
        one, two = {"license": "MIT"}, {"license": "Their own\n---\nlicense: mit", "homepage": "javascript:x"}
        assert hub_licenses([one, dict(one)]) == {"license": "mit"}
        assert hub_licenses([two]) == {"license": "other", "license_name": "their-own-license-mit"}
