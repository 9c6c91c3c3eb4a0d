"""Third-party text in cards stays text: no markup, no addresses but those of the web, no code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard, ModelCard
from markdown_it import MarkdownIt
from training_run import build_tiny_features, trainer_of

import hf_audio
from hf_audio import InputError
from hf_audio.analysis.evaluation import evaluate_model
from hf_audio.data.index.labels import MULTI_LABEL
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import printable
from hf_audio.markdown import escaped, link, python_literal, web_address
from hf_audio.publishing.dataset_card import name_repo, write_dataset_card
from hf_audio.publishing.model_card import write_model_card
from hf_audio.publishing.templates import render

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
HOSTILE = (
    "<script>alert(1)</script>",
    "![x](http://evil/pixel.png)",
    "[click](javascript:alert(1))",
    "a | b | c",
    "x\n\n# Heading\n\n- item",
    "x\n---\nlicense: mit\n---\n",
    "```\nimport os\n```",
    "`code` **bold** _it_ ~~s~~ $$x$$",
    "<img src=x onerror=alert(1)>&lt;b&gt;",
    "a\u202egnp.exe\x1b[2J\u2028b",
    '"); import os; os.system("id") #',
    "1. one",
    "# one",
    "- one",
    "> one",
    "---",
    "===",
    "[ref]: http://evil",
)
ALLOWED = {"paragraph_open", "paragraph_close", "inline"}


@pytest.fixture
def features(small_features, tmp_path) -> Path:
    return shutil.copytree(small_features, tmp_path / "features")


class TestCards:
    @pytest.mark.parametrize("text", HOSTILE)
    def test_escaped_text_stays_text_everywhere(self, text):
        """Parsed as CommonMark with tables: alone on a line, in a cell, as the text of a link."""
        alone = MARKDOWN.parse(f"{escaped(text)}\n")
        assert {token.type for token in alone} == ALLOWED
        assert {child.type for child in alone[1].children} <= {"text", "text_special"}
        shown = "".join(child.content for child in alone[1].children)
        assert shown == printable(" ".join(text.split())), "no part of the text is lost"
        row = MARKDOWN.parse(f"| a | b |\n|---|---|\n| {escaped(text)} | 2 |\n")
        assert [token.type for token in row].count("td_open") == 2
        assert not [
            child for token in row for child in token.children or () if child.type.startswith(("html", "im", "li"))
        ]
        (linked,) = [token for token in MARKDOWN.parse(f"see {link(text, 'https://e.org/a b)c')}") if token.children]
        assert [child.attrs["href"] for child in linked.children if child.type == "link_open"] == [
            "https://e.org/a%20b%29c"
        ]

    @pytest.mark.parametrize("text", HOSTILE)
    def test_text_in_code_is_a_single_literal(self, text):
        literal = python_literal(text)
        assert eval(literal) == text and literal.isprintable() and "`" not in literal

    @pytest.mark.parametrize(
        "address", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//x", "", None, 3]
    )
    def test_only_addresses_of_the_web_become_links(self, address):
        assert web_address(address) is None and link("x", address) == "x"

    def test_templates_escape_every_value(self):
        """All values that a template prints are escaped automatically."""
        for template in ("dataset_card.md", "model_card.md", "network_usage.md", "pretraining_card.md"):
            text = (Path(hf_audio.__file__).parent / "publishing" / template).read_text()
            assert "| safe" not in text and "tojson" not in text
        corpus = {"name": "<b>", "homepage": None, "license": "`", "citation": "<i>", "may_redistribute": True}
        shown = render(
            "pretraining_card.md",
            **{"card_data": "", "name": "<h1>", "model_id": 'a"b', "corpus": corpus, "sources": [corpus]},
            **{"train": {"num_windows": 1, "num_clips": 1}, "num_parameters": 1, "objective": "<u>", "trust": ""},
        )
        assert "<" not in shown.replace("\\<", "") and 'from_pretrained("a\\"b")' in shown

    @pytest.fixture
    def hostile_features(self, features) -> Path:
        """A dataset whose corpus and classes are named by an attacker."""
        manifest = json.loads((features / "manifest.json").read_text())
        renamed = dict(zip(manifest["label_names"], (HOSTILE[1], HOSTILE[5], HOSTILE[0]), strict=True))
        manifest["label_names"] = list(renamed.values())
        for facts in manifest["splits"].values():
            facts["label_counts"] = {renamed[name]: count for name, count in facts["label_counts"].items()}
        manifest["corpus"] |= {
            "name": HOSTILE[5],
            "citation": HOSTILE[4],
            "protocol": HOSTILE[8],
            "license": HOSTILE[6],
        }
        manifest["corpus"]["homepage"] = "javascript:alert(1)"
        (features / "manifest.json").write_text(json.dumps(manifest))
        return features

    def test_the_card_of_a_hostile_dataset_is_plain_text(self, hostile_features):
        card = DatasetCard.load(write_dataset_card(hostile_features, "alice/tones"))
        assert card.data.license == "other" and "javascript" not in str(card.data.to_dict())
        tokens = MARKDOWN.parse(card.text)
        inline = [child for token in tokens for child in token.children or ()]
        assert not [token for token in [*tokens, *inline] if token.type.startswith("html")]
        assert {child.attrs["src"] for child in inline if child.type == "image"} == {
            "plots/class_distribution.png",
            "plots/windows.png",
        }
        assert not [child.attrs["href"] for child in inline if child.type == "link_open"]
        headings = [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"]
        assert len(headings) == 6 and "Heading" not in headings
        assert [token.info for token in tokens if token.type == "fence"] == ["", "python"]

    def test_the_card_of_a_hostile_report_is_plain_text(self, tmp_path):
        features = load_features(build_tiny_features(tmp_path / "features", MULTI_LABEL))
        trainer = trainer_of(features, tmp_path / "run", arguments={"max_steps": 1})
        trainer.train_resumable()
        report = evaluate_model(trainer, features, tmp_path / "run", command="recipes/x.py\n```\n<b>")
        names = dict(zip(report["task"]["labels"], (HOSTILE[0], HOSTILE[3], HOSTILE[6]), strict=True))
        report["task"]["labels"] = list(names.values())
        split = report["results"]["model"]["test"]
        split["per_class"] = {names[name]: one for name, one in split["per_class"].items()}
        report["data"]["corpus"] |= {"name": HOSTILE[2], "homepage": HOSTILE[2], "citation": HOSTILE[4]}
        report["data"]["extractor"]["sampling_rate"] = 16_000
        report["notes"], report["model"]["base_model"] = [HOSTILE[8]], "<b>/](javascript:x)"
        card = ModelCard.load(write_model_card(tmp_path / "run", report, repo_id="alice/x", license="mit\nx: y"))
        assert card.data.base_model is None and card.data.license == "mit x: y" and "x" not in card.data.to_dict()
        tokens = MARKDOWN.parse(card.text)
        inline = [child for token in tokens for child in token.children or ()]
        assert {token.content.strip() for token in tokens if token.type == "html_block"} == {
            "<details><summary>Scores per class</summary>",
            "</details>",
        }
        assert not [child for child in inline if child.type.startswith("html")]
        assert {child.attrs["href"] for child in inline if child.type == "link_open"} == {"report.json"}
        assert [token.info for token in tokens if token.type == "fence"] == ["", "python", "python", ""]

    @pytest.mark.parametrize("name", [r"\g<0>", "a/b/c", 'x", trust_remote_code=True, y="', "../x", "a\nb", ""])
    def test_invalid_repository_names_are_refused(self, features, tmp_path, name):
        write_dataset_card(features)
        for write in (
            lambda: write_dataset_card(features, name),
            lambda: name_repo(features, name),
            lambda: write_model_card(tmp_path, {}, repo_id=name),
            lambda: write_model_card(tmp_path, {}, dataset_id=name),
        ):
            with pytest.raises(InputError, match="is not a valid repository name"):
                write()

    def test_a_folder_name_with_quotes_is_replaced_by_the_repository(self, small_features, tmp_path):
        folder = shutil.copytree(small_features, tmp_path / 'a"b`c')
        write_dataset_card(folder)
        name_repo(folder, "alice/tones")
        text = (folder / "README.md").read_text()
        assert 'load_dataset("alice/tones", split="train")' in text and "x60" not in text and 'a"b' not in text
