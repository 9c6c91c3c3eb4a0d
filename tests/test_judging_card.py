"""Results in a model card, in a folder and on the Hub: added or replaced by newer ones, with nothing else changed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hub_server import Hub
from huggingface_hub import ModelCard

from hf_audio.errors import InputError
from hf_audio.judging.card import with_results, write_card

REPORT = {
    "data": {
        "name": "Songs | of <b>",
        "dataset_id": "alice/songs",
        "config": None,
        "revision": None,
        "split": "test",
        "num_clips": 1200,
        "num_groups": 300,
        "drawn_by": "group",
        "classes": ["piano", "flute"],
    },
    "notes": ["tagger has no class like <oboe>: left out.", "Rival has no drum.", "These are few."],
    "settings": {"aggregation": "mean_logits", "num_draws": 1000, "confidence": 0.95, "seed": 0},
    "models": {
        "tagger": {
            "metrics": {
                "f1_micro": {"value": 0.67891, "low": 0.65, "high": 0.7},
                "mean_average_precision": {"value": 0.71, "low": None, "high": None},
                "hamming_loss": {"value": 0.1, "low": 0.08, "high": 0.12},
                "roc_auc_macro": {"value": None, "low": None, "high": None},
            }
        }
    },
}
CARD = """---
license: mit  # as the paper says
language: no
tags: [audio]
model-index:
- name: Tagger
  results:
  - task: {type: audio-classification, name: Audio classification}
    dataset: {type: alice/songs, name: Songs, split: test, note: kept}
    metrics:
    - {type: f1, value: 0.5, name: micro F1}
    - {type: wer, value: 0.3, name: WER}
  - task: {type: audio-classification}
    dataset: {type: alice/songs, name: Songs, split: test}
    metrics:
    - {type: f1, value: 0.4, name: micro F1}
    source: {name: a leaderboard, url: "https://example.com"}
  - task: {type: audio-classification}
    dataset: {type: other, name: Other, split: test}
    metrics:
    - {type: f1, value: 0.3, name: micro F1}
datasets:
- alice/songs
---
# Tagger

What people wrote, with a | and <!-- a comment -->.
"""


def changed(report: dict[str, Any], value: float) -> dict[str, Any]:
    report = copy.deepcopy(report)
    report["models"]["tagger"]["metrics"]["f1_micro"] |= {"value": value, "low": value - 0.1, "high": value + 0.1}
    return report


def test_results_are_added_and_nothing_else_changes():
    written = with_results(CARD, REPORT, "tagger", "tagger")
    card = ModelCard(written)
    found = {(one.dataset_type, one.source_url, one.metric_name): one for one in card.data.eval_results}
    assert {key: one.metric_value for key, one in found.items()} == {
        ("alice/songs", None, "micro F1"): 0.6789,
        ("alice/songs", None, "WER"): 0.3,
        ("alice/songs", None, "mAP"): 0.71,
        ("alice/songs", "https://example.com", "micro F1"): 0.4,
        ("other", None, "micro F1"): 0.3,
    }
    told = found["alice/songs", None, "micro F1"].metric_args
    assert told == {
        "aggregation": "mean_logits",
        "num_clips": 1200,
        "num_classes": 2,
        "confidence": 0.95,
        "interval_low": 0.65,
        "interval_high": 0.7,
        "drawn_by": "group",
    }
    assert "interval_low" not in found["alice/songs", None, "mAP"].metric_args
    head, _, _ = CARD.partition("model-index:")
    assert written.startswith(head) and "\ndatasets:\n- alice/songs\n---\n# Tagger\n\nWhat people wrote" in written
    assert card.data.model_name == "Tagger"
    assert "| micro F1 | 0.679 | 0.650 to 0.700 |" in written and "| Hamming loss | 0.100 |" in written
    assert "1,200 clips from 300 groups" in written
    alone = {**REPORT, "data": {**REPORT["data"], "drawn_by": "clip"}}
    assert "1,200 clips. The intervals are bootstrap confidence intervals over clips" in with_results(
        CARD, alone, "tagger", "tagger"
    )
    rival = {**REPORT["models"], "rival": {"told": ["Rival has no drum."]}}
    both = with_results(CARD, {**REPORT, "models": rival}, "tagger", "tagger")
    assert "- These are few" in both and "Rival" not in both and "- Rival has no drum" in written
    assert "<oboe>" not in card.text and "- tagger has no class like " in card.text
    assert "<b>" not in card.text and r"Songs \| of \<b\>, test split" in card.text


def test_degraded_recordings_are_in_the_table():
    report = copy.deepcopy(REPORT)
    score = {"f1_micro": {"value": 0.5, "low": 0.4, "high": 0.6}}
    noisy = {"degradation": "white_noise", "strength": 10.0, "unit": "dB SNR", "metrics": score}
    table = {"metric": "f1_micro", "clean": {"metrics": score}, "conditions": [noisy]}
    report["models"]["tagger"]["robustness"] = table
    written = with_results(CARD, report, "tagger", "tagger")
    assert "| white noise 10 dB SNR | 0.500 | 0.400 to 0.600 |\n<!--" in written
    assert with_results(written, report, "tagger", "tagger") == written
    assert "white noise" not in with_results(written, REPORT, "tagger", "tagger")


def test_the_same_report_changes_nothing_and_a_newer_one_only_its_own_numbers():
    once = with_results(CARD, REPORT, "tagger", "tagger")
    assert with_results(once, REPORT, "tagger", "tagger") == once
    newer = with_results(once, changed(REPORT, 0.75), "tagger", "tagger")
    assert "| micro F1 | 0.750 | 0.650 to 0.850 |" in newer and "0.6789" not in newer and "0.679" not in newer
    assert len(ModelCard(newer).data.eval_results) == len(ModelCard(once).data.eval_results)
    other = copy.deepcopy(REPORT)
    other["data"] |= {"dataset_id": None, "name": "Noises"}
    both = with_results(once, other, "tagger", "tagger")
    assert once.rstrip().splitlines()[-1] in both and both.count("## Results on") == 2
    assert {"alice/songs", "Noises"} <= {one.dataset_type for one in ModelCard(both).data.eval_results}


@pytest.mark.parametrize(
    "card", ["", "# Only words\n", "---\nlicense: mit\n---\n# Words\n"], ids=["none", "words", "license"]
)
def test_a_card_without_results_gets_some(card):
    written = with_results(card, REPORT, "tagger", "mine")
    assert {one.metric_type for one in ModelCard(written).data.eval_results} == {"f1", "mean_average_precision"}
    assert ModelCard(written).data.model_name == "mine" and card.split("---\n")[-1].strip() in written
    assert with_results(written, REPORT, "tagger", "mine") == written


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ("---\nmodel-index: [{results: []}]\n---\n", "The Hub cannot read the model-index"),
        ("---\nmodel-index: 7\n---\n", "The Hub cannot read the model-index"),
        ("---\na: &a [1]\nb: *a\n---\n", "README.md cannot be used|README.md is not YAML"),
        ("---\n- a list\n---\n", "must contain lines of"),
    ],
)
def test_a_card_that_the_hub_could_not_read_is_refused(card, said):
    with pytest.raises(InputError, match=said):
        with_results(card, REPORT, "tagger", "mine")


def test_windows_line_ends_and_a_quoted_model_index_are_accepted():
    written = with_results(CARD.replace("\n", "\r\n"), REPORT, "tagger", "tagger")
    assert len(ModelCard(written).data.eval_results) == 5
    strange = '---\n"model-index":\n- name: x\n  results: []\nlicense: mit\n---\n# x\n'
    card = ModelCard(with_results(strange, REPORT, "tagger", "x"))
    assert card.data.license == "mit" and len(card.data.eval_results) == 2


def test_the_card_in_a_folder_is_written_atomically_and_holds_no_token(tmp_path):
    (tmp_path / "README.md").write_text(CARD)
    assert write_card(tmp_path, REPORT, "tagger") == str(tmp_path / "README.md")
    assert ModelCard.load(tmp_path / "README.md").data.license == "mit"
    before = (tmp_path / "README.md").stat().st_mtime_ns
    write_card(tmp_path, REPORT, "tagger")
    assert (tmp_path / "README.md").stat().st_mtime_ns == before
    stolen = copy.deepcopy(REPORT)
    stolen["data"]["config"] = f"hf_{'a' * 34}"
    with pytest.raises(InputError, match="contains a Hugging Face token"):
        write_card(tmp_path, stolen, "tagger")


def test_the_card_on_the_hub_gets_one_commit(hub: Hub, token: str):
    repo = hub.create("models", "alice/tagger", {"README.md": CARD.encode(), "config.json": b"{}"})
    assert write_card("alice/tagger", REPORT, "tagger") == f"{hub.endpoint}/alice/tagger"
    assert ModelCard(repo.read("README.md").decode()).data.eval_results[0].metric_name == "WER"
    assert repo.read("config.json") == b"{}"
    write_card("alice/tagger", REPORT, "tagger")
    assert len(hub.log.matching("POST", ".*/commit/.*")) == 1
    assert [commit.title for commit in repo.history(repo.resolve())][:1] == ["Add results on Songs | of <b>"]


def test_missing_models_and_models_of_others_are_refused(hub: Hub, token: str, tmp_path):
    with pytest.raises(InputError, match="no model alice/nothing on the Hub that this token can read"):
        write_card("alice/nothing", REPORT, "tagger")
    with pytest.raises(InputError, match="neither a folder nor the name of a model"):
        write_card(tmp_path / "nothing", REPORT, "tagger")
    hub.create("models", "bob/tagger", {"README.md": b"# Bob's\n"})
    with pytest.raises(InputError, match="alice is not allowed to write to bob/tagger"):
        write_card("bob/tagger", REPORT, "tagger")
    assert hub.repo("models", "bob/tagger").read("README.md") == b"# Bob's\n"
