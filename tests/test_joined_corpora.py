"""Training on several corpora at once: what is joined, what stays separate, and what reports say about it."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from corpus_trees import TREES, write_sound

import hf_audio
from hf_audio import DataConfig, FeatureConfig, InputError
from hf_audio.analysis.corpus_scores import corpus_note, scores_by_corpus
from hf_audio.config.reported import reported_command, reported_settings
from hf_audio.data.index.columns import names_in, of_split
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.data.loading.feature_collator import clip_key
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.metrics import ClipScores
from hf_audio.preparation import build_corpus_features, corpora_of, corpus_clips
from hf_audio.preparation.joining import Part, join
from hf_audio.preparation.sources import each_corpus
from hf_audio.publishing.dataset_card import write_dataset_card
from hf_audio.publishing.licenses import hub_licenses, refuse_closed, sources_of

pytestmark = pytest.mark.timeout(60)
CARD = CorpusCard("Tones", license="CC0 1.0", may_redistribute=True, protocol="As one likes.")


def folder(root: Path, *labels: str, count: int = 8) -> Path:
    for number, label in enumerate(labels):
        for seed in range(count):
            write_sound(root / label / f"{seed}.wav", 0.5, seed, [200.0 * 3**number], 16_000)
    return root


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[str]:
    """Two folders with the same recordings: bell and flute are in both, tuba and harp in one each."""
    root = tmp_path_factory.mktemp("two")
    return [str(folder(root / "home", "bell", "flute", "tuba")), str(folder(root / "hall", "bell", "flute", "harp"))]


def told(data: DataConfig) -> tuple[hf_audio.preparation.clips.CorpusClips, str]:
    said: list[str] = []
    return corpus_clips(data, tell=said.append), "\n".join(said)


def refusal(**settings) -> str:
    with pytest.raises(InputError) as error:
        corpus_clips(DataConfig(**settings))
    assert "\n" not in str(error.value)
    return str(error.value)


def part(name: str, space: LabelSpace, card: CorpusCard = CARD, **metadata: object) -> Part:
    clips = [Clip(f"{name}.wav", (label,), "g", label, split="train", metadata=metadata) for label in space.names]
    return Part(name, index_of(clips), space, card)


class TestJoining:
    def test_classes_are_joined_and_everything_else_stays_separate(self, two):
        found, said = told(DataConfig(data_dir=two))
        assert found.labels == LabelSpace(("bell", "flute", "harp", "tuba"), SINGLE_LABEL)
        clips = found.clips.to_pylist()
        assert len(clips) == 48 and {clip["corpus"] for clip in clips} == {"home", "hall"}
        assert {clip["clip_id"] for clip in clips} >= {"home/bell/0.wav", "hall/bell/0.wav"}
        for clip in clips:
            assert clip["clip_id"].startswith(f"{clip['corpus']}/") and clip["group"].startswith(f"{clip['corpus']}/")
        for split in ("train", "validation", "test"):  # every corpus has test clips
            assert names_in(of_split(found.clips, split)["corpus"]) == ["hall", "home"]
        assert "Joined 2 corpora: home 24 clips (50%), hall 24 clips (50%)." in said
        assert "bell, flute. Only in home: tuba. Only in hall: harp." in said
        assert "by how the other was recorded" in said and "In hall: Read class folders: 24 clips" in said
        assert "Joined 2 corpora" in found.card.understood and found.card.name == "home + hall"

    def test_recordings_in_two_corpora_and_two_splits_are_reported(self, two, tmp_path):
        def table(name: str, root: str, first_test: int) -> str:
            rows = [f"{root}/{label}/{n}.wav,{label},{'train' if n % 4 < first_test else 'test'}" for label in
                    ("bell", "flute") for n in range(8)]  # fmt: skip
            (tmp_path / name).write_text("\n".join(["path,label,split", *rows]))
            return str(tmp_path / name)

        home = table("home.csv", two[0], 2)
        for other in (two[1], two[0]):  # equal content in other files, then the same files
            joined, said = told(DataConfig(data_dir=[home, table("hall.csv", other, 3)], validation_fraction=0))
            assert not joined.card.groups_known, "no report or card may claim that splits share no group"
            assert "4 recordings" in joined.card.protocol
            assert "4 recordings are in two corpora and in two splits (first home/" in said
            assert "12 recordings are in two corpora and count twice." in said
            assert "hf-audio leaks" in said
        others = folder(tmp_path / "others", "bell", "flute")
        for path in others.rglob("*.wav"):
            path.write_bytes(path.read_bytes() + b"another tag")
        _, said = told(DataConfig(data_dir=[home, str(others)]))
        assert "are in two corpora" not in said and "were not searched for" in said

    def test_each_corpus_is_split_as_it_would_be_alone(self, two):
        both = corpus_clips(DataConfig(data_dir=two)).clips
        alone = corpus_clips(DataConfig(data_dir=two[0])).clips
        of_home = both.filter(pc.equal(both["corpus"], "home"))
        assert of_home["split"].to_pylist() == alone["split"].to_pylist()
        assert [name.removeprefix("home/") for name in of_home["clip_id"].to_pylist()] == alone["clip_id"].to_pylist()

    def test_classes_that_a_corpus_lacks_are_unknown(self):
        one, other = LabelSpace(("dog", "rain"), SINGLE_LABEL), LabelSpace(("dog", "voice"), MULTI_LABEL)
        joined = join([part("a", one), part("b", other)])
        assert joined.labels == LabelSpace(("dog", "rain", "voice"), MULTI_LABEL)
        unknown = {row["corpus"]: row["unknown"] for row in joined.clips.to_pylist()}
        assert unknown == {"a": ["voice"], "b": ["rain"]} and "are ignored there" in joined.told

    def test_negatives_name_their_own_corpus(self, two, tmp_path):
        root = str(TREES["esc50"](tmp_path / "esc50"))
        settings = {"negatives": "esc50", "negatives_dir": root, "several_labels": True}
        clips = corpus_clips(DataConfig(data_dir=two, **settings)).clips
        of_negatives = clips.filter(pc.equal(clips["corpus"], "esc50"))
        assert len(of_negatives) == 20 and set(of_negatives["split"].to_pylist()) == {"train"}
        assert not any(of_negatives["labels"].to_pylist()) and len(clips) == 68

    def test_metadata_of_two_types(self):
        space = LabelSpace(("x", "y"), SINGLE_LABEL)
        clips = join([part("a", space, age=3, take=1, corpus="old"), part("b", space, age="old", take=1.5)]).clips
        assert clips["age"].to_pylist() == ["3", "3", "old", "old"]
        assert clips["take"].type == pa.float64() and clips["corpus"].to_pylist() == ["a", "a", "b", "b"]
        assert clips["metadata_corpus"].to_pylist() == ["old", "old", None, None]

    def test_class_names_that_differ_only_in_case(self, tmp_path, two):
        other = str(folder(tmp_path / "other", "Bell", "oboe"))
        message = refusal(data_dir=[two[0], other])
        assert "Classes 'Bell' of other and 'bell' of home differ only in case" in message and "--label_map" in message
        (tmp_path / "map.yaml").write_text("other: {Bell: bell}\n")
        found = corpus_clips(DataConfig(data_dir=[two[0], other], label_map=str(tmp_path / "map.yaml")))
        assert found.labels.names == ("bell", "flute", "oboe", "tuba")

    def test_folders_with_the_same_name(self, tmp_path):
        dirs = [str(folder(tmp_path / name / "audio", "x", "y")) for name in "ab"]
        assert list(each_corpus(DataConfig(data_dir=dirs))) == ["audio", "audio-2"]
        assert names_in(corpus_clips(DataConfig(data_dir=dirs)).clips["corpus"]) == ["audio", "audio-2"]


class TestLabelMap:
    def with_map(self, tmp_path: Path, text: str, **settings) -> DataConfig:
        (tmp_path / "map.yaml").write_text(text)
        return DataConfig(label_map=str(tmp_path / "map.yaml"), **settings)

    def test_a_map_for_all_corpora_and_one_for_each(self, tmp_path, two):
        text = "bell: metal\ntuba: null\nhall:\n  harp: strings\n  bell: bells\n"
        found, said = told(self.with_map(tmp_path, text, data_dir=two))
        assert found.labels.names == ("bells", "flute", "metal", "strings") and len(found.clips) == 40
        assert "By the label map: renamed classes 'bell' as 'metal'; left out 'tuba' (8 clips)." in said
        assert "renamed classes 'bell' as 'bells', 'harp' as 'strings'" in found.card.understood

    def test_several_classes_become_one_in_a_single_corpus(self, tmp_path, two):
        found, said = told(self.with_map(tmp_path, "bell: struck\ntuba: blown\nflute: blown\n", data_dir=two[0]))
        assert found.labels.names == ("struck", "blown") and "By the label map" in said
        assert found.labels.counts(found.clips["labels"]).tolist() == [8, 16]

    def test_a_label_known_for_one_class_is_known_for_the_merged_class(self, tmp_path):
        root = str(TREES["openmic"](tmp_path / "openmic"))
        text = "flute: wind\ntrumpet: wind\n"
        found = corpus_clips(self.with_map(tmp_path, text, corpus="openmic", data_dir=root))
        for clip in found.clips.to_pylist():
            assert not {*clip["labels"]} & {*clip["unknown"]} and len(clip["unknown"]) == len({*clip["unknown"]})
            assert "wind" in (*clip["labels"], *clip["unknown"])

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("bel: x\n", "names 'bel', which is not a class of any of the corpora: did you mean 'bell'?"),
            ("home: {harp: x}\n", "names 'harp', which is not a class of home"),
            ("hal: {bell: x}\n", "names 'hal', which is not a corpus: did you mean 'hall'?"),
            ("yes: x\n", "maps True to 'x'.*in quotation marks"),
            ("bell: 3\n", "maps 'bell' to 3.*in quotation marks"),
            ("bell: ''\n", "an empty name: write null"),
            ("hall: {bell: null, flute: null, harp: null}\n", "In hall: The label map leaves out all classes"),
            ("- bell\n", "map.yaml"),
        ],
    )
    def test_bad_maps_are_one_sentence(self, tmp_path, two, text, message):
        with pytest.raises(InputError, match=message):
            corpus_clips(self.with_map(tmp_path, text, data_dir=two))


class TestSettings:
    def test_lists_of_different_lengths(self, two):
        for settings in (
            {"corpus": ["esc50", "irmas"], "data_dir": two[0]},
            {"corpus": ["a", "b", "c"], "data_dir": two},
        ):
            with pytest.raises(InputError, match="do not match, expected the same number of each"):
                DataConfig(**settings)
        assert "--test_groups is for a single corpus" in refusal(data_dir=two, test_groups=["home/a"])
        assert "In home: --fold 1 was given but the corpus has no folds" in refusal(data_dir=two, fold="1")

    def test_an_error_names_its_corpus(self, two, tmp_path):
        assert refusal(data_dir=[two[0], str(tmp_path / "no")]).startswith("In no: ")
        assert "In esc50: " in refusal(corpus=["folder", "esc50"], data_dir=[two[0], str(tmp_path)])

    def test_a_list_of_one_is_a_single_corpus(self):
        data = DataConfig(corpus=["esc50"], data_dir=["x"])
        assert (data.corpus, data.data_dir, data.num_corpora) == ("esc50", "x", 1) and DataConfig().corpus == "folder"

    def test_reports_name_the_corpora_and_no_path(self, two, monkeypatch):
        values = {"output_dir": "runs/x", "window_s": 0.5}
        recipe = hf_audio.parse_recipe(values, argv=["--data_dir", *two])
        assert reported_settings(recipe)["corpus"]["data_dir"] == ["home", "hall"]
        assert reported_command(recipe, "recipes/cnn_folder.py").endswith("--data_dir home hall")


class TestLicenses:
    def test_every_corpus_has_a_card(self):
        cards = corpora_of(DataConfig(corpus=["esc50", "irmas"], data_dir=["a", "b"]))
        assert [card.name for card in cards] == ["ESC-50", "IRMAS"]

    def test_the_joined_card_has_the_license_of_every_corpus(self):
        closed = CorpusCard("Guarded", license="CC BY-NC-SA 3.0", may_redistribute=False)
        space = LabelSpace(("x", "y"), SINGLE_LABEL)
        card = join([part("a", space), part("b", space, closed)]).card
        assert not card.may_redistribute
        sources = sources_of({**vars(card), "others": [vars(other) for other in card.others]})
        assert [one["name"] for one in sources] == ["Tones", "Guarded"]
        assert hub_licenses(sources) == {"license": "other", "license_name": "cc0-1.0-and-cc-by-nc-sa-3.0"}
        with pytest.raises(InputError, match=r"Guarded is under 'CC BY-NC-SA 3\.0'"):
            refuse_closed("alice/x", sources, False, None)


def test_features_of_several_corpora(tmp_path, two):
    esc50 = str(TREES["esc50"](tmp_path / "esc50"))
    data = DataConfig(corpus=["folder", "esc50"], data_dir=[two[0], esc50], fold=None, num_workers=1)
    with pytest.raises(InputError, match=r"In esc50: .*choose the one to test on with --fold"):
        corpus_clips(data)
    data = DataConfig(data_dir=two, num_workers=1)
    built = build_corpus_features(data, tmp_path / "features", FeatureConfig(window_s=0.5))
    manifest = json.loads((built / "manifest.json").read_text())
    assert manifest["corpus"]["license"] == "" and len(manifest["corpus"]["others"]) == 2
    features = load_features(built)
    assert features.labels.names == ("bell", "flute", "harp", "tuba")
    of_test = of_split(features.clips(), "test")
    targets = np.eye(4, dtype=np.float32)[
        [features.labels.indices(names)[0] for names in of_test["labels"].to_pylist()]
    ]
    is_home = np.array(of_test["corpus"].to_pylist()) == "home"
    logits = np.where(is_home[:, None], targets, np.roll(targets, 1, axis=1)) * 10.0  # right in "home", wrong in "hall"
    scores = ClipScores(np.array([clip_key(name) for name in of_test["clip_id"].to_pylist()]), logits, targets)
    found = scores_by_corpus(scores, features)
    assert {name: (its["num_clips"], its["accuracy"]) for name, its in found.items()} == {
        "hall": (int((~is_home).sum()), 0.0),
        "home": (int(is_home.sum()), 1.0),
    }
    (note,) = corpus_note(found, features.labels.problem_type)
    assert note.startswith("By corpus: hall accuracy 0.000, macro F1 0.000 (") and "home accuracy 1.000" in note
    text = write_dataset_card(built, "alice/both").read_text()
    assert "home + hall" in text and "Joined 2 corpora" in text and str(tmp_path) not in text


class TestDatasets:
    """Datasets on the Hub, and one joined with a local folder."""

    @pytest.fixture
    def pushed(self, hub, token, two, tmp_path, monkeypatch) -> list[str]:
        monkeypatch.chdir(tmp_path)
        for name, root in zip(("home", "hall"), two, strict=True):
            sharing = hf_audio.ShareConfig(hub_dataset_id=f"alice/{name}", license=f"cc-by-{len(name)}.0")
            hf_audio.share_corpus(hf_audio.CorpusConfig(data_dir=root), sharing)
        return ["alice/home", "alice/hall"]

    def test_a_run_on_two_of_them(self, hub, pushed, tmp_path):
        values = {"output_dir": str(tmp_path / "run"), "window_s": 0.5, "num_workers": 1, "seed": 0}
        recipe = hf_audio.parse_recipe(values, argv=["--dataset", *pushed])
        features = hf_audio.prepare_features(recipe)
        assert features.labels.names == ("bell", "flute", "harp", "tuba")
        commits = [hub.repo("datasets", name).resolve().oid for name in pushed]
        assert recipe.corpus.dataset_revision == commits
        others = features.manifest["corpus"]["others"]
        assert [(one["source"], one["revision"]) for one in others] == list(zip(pushed, commits, strict=True))
        assert [one["license"] for one in others] == ["cc-by-4.0", "cc-by-4.0"]
        assert {row["corpus"] for row in features.splits["train"]} == set(pushed)
        assert reported_settings(recipe)["corpus"]["dataset"] == pushed

    def test_a_dataset_and_a_folder_give_the_features_of_two_folders(self, pushed, two, tmp_path):
        mixed = DataConfig(dataset=[pushed[0], two[1]], num_workers=1)
        clips = corpus_clips(mixed).clips
        assert names_in(clips["corpus"]) == ["alice/home", "hall"]
        built = load_features(build_corpus_features(mixed, tmp_path / "mixed", FeatureConfig(window_s=0.5)))
        plain = DataConfig(data_dir=two, num_workers=1)
        expected = load_features(build_corpus_features(plain, tmp_path / "plain", FeatureConfig(window_s=0.5)))
        for split in expected.splits:
            of = {row["clip_id"]: row["features"]["bytes"] for row in expected.splits[split]}
            found = {row["clip_id"].removeprefix("alice/"): row["features"]["bytes"] for row in built.splits[split]}
            assert found == of
