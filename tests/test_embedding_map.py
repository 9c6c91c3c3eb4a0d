"""The map in a real Chromium: points are drawn, selected, colored and played, with hostile names and up to 20,000."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import tone_corpus
from browser import Page

import hf_audio.figures.embedding_map as embedding_map
from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError
from hf_audio.figures.embedding_map import MAX_LISTED, MAX_POINTS, Listed, MapPoints, correctness, map_page
from hf_audio.figures.projections import Projection
from hf_audio.label_quality.embedding_map import write_embedding_map
from hf_audio.metrics import WindowScores
from hf_audio.stored_scores import write_scores

HOSTILE = ["</script><script>document.pwned=1</script>", "<img src=x onerror='document.pwned=1'>", "a\u202eb\x00'\"&"]


def page_of(count: int, lists=()) -> str:
    """Points in a square, with names that could break a page. The first plays a file beside the page."""
    random = np.random.default_rng(0)
    places = random.uniform(size=(count, 2)).astype(np.float32)
    places[0] = 0.5
    numbers = np.arange(count)
    points = MapPoints(
        [f"{HOSTILE[one % 3]} {one}" for one in numbers],
        [f"{HOSTILE[1]} {one // 4}" for one in numbers],
        ["test" if one % 5 == 0 else "train" for one in numbers],
        [() if one % 10 == 9 else (HOSTILE[one % 3],) for one in numbers],
        [()] * count,
        ["a%20b.wav" if one == 0 else "" for one in numbers],
        [None if one % 5 else (HOSTILE[0],) for one in numbers],
        (numbers[:, None] + np.arange(1, 6)) % count,
    )
    maps = [Projection(name, one, np.array([0.6, 0.2])) for name, one in (("pca", places), ("tsne", places[:, ::-1]))]
    return map_page(HOSTILE[0], [HOSTILE[1]], points, maps, lists)


def click_point(page: Page, point: int) -> None:
    page.click("#map", *page.value(f"placeOnCanvas({point})"))


def select(page: Page, selector: str, value: str) -> None:
    page.value(f"find('{selector}').value = '{value}'; find('{selector}').dispatchEvent(new Event('input'))")


def test_points_are_played_selected_and_colored(opened):
    rows = [((0, 1), HOSTILE[1])] * (MAX_LISTED + 5)
    page = opened(page_of(60, [Listed("Pairs", "They are near.", rows, num_named=2)]))
    assert page.value("find('#count').textContent") == "60 of 60 clips"
    click_point(page, 0)
    assert page.value("view.chosen") == 0 and HOSTILE[0] in page.value("find('#about').textContent")
    page.until("!player.paused && player.duration === 30 && player.currentSrc.endsWith('/a%20b.wav')")
    assert "the model predicts" in page.value("find('#about').textContent")
    page.value("find('#silent').textContent = 'This browser cannot play the recording: of another clip'")
    page.click("#near button")
    assert page.value("view.chosen") == 1 and page.value("player.paused && !find('#silent').hidden")
    assert page.value("find('#silent').textContent") == "The recording was not found."

    page.click("#facet-class .none")
    page.click("#facet-class label:last-of-type input")
    assert page.value("find('#count').textContent") == "6 of 60 clips", "only points without a class are shown"
    page.click("#facet-class .all")
    page.click("#facet-state label:last-of-type input")
    assert page.value("find('#count').textContent") == "52 of 60 clips", "the wrong predictions are hidden"
    page.value("find('#find').focus()")
    page.type("onerror='document.pwned=1'> 1")
    assert page.value("shown") == [1, 13, 16, 19]

    before, colors = page.value("placeOnCanvas(7)"), []
    for coloring in ("class", "state", "group", "split"):
        select(page, "#coloring", coloring)
        page.value("draw()")
        x, y = page.value("placeOnCanvas(13)")
        colors.append(page.value(f"[...pen.getImageData({x} * devicePixelRatio, {y} * devicePixelRatio, 1, 1).data]"))
    assert all(color[3] > 100 for color in colors) and len({tuple(color[:3]) for color in colors}) > 1
    page.call("Input.dispatchMouseEvent", type="mouseWheel", x=300, y=400, deltaX=0, deltaY=-200)
    page.until("view.scale > 1.2")
    select(page, "#method", "1")
    after = page.value("placeOnCanvas(7)")
    assert page.value("view.scale") == 1 and after != before and "t-SNE" in page.value("find('#caption').textContent")

    assert page.value("document.querySelectorAll('.rows button').length") == MAX_LISTED
    assert "The first 200 are shown here; neighbors.csv has all" in page.value("find('#lists').textContent")
    page.click(".rows button")
    x, y = page.value("placeOnCanvas(0)")
    middle = page.value("[canvas.clientWidth / 2, canvas.clientHeight / 2]")
    np.testing.assert_allclose([x, y], middle, atol=1)
    assert page.value("[...view.marked]") == [0, 1]


def test_20_000_points_can_be_moved(opened):
    html = page_of(MAX_POINTS)
    assert len(html) < 8e6
    page = opened(html)
    assert page.value("shown.length") == MAX_POINTS and page.value("document.querySelectorAll('input').length") < 400
    tenth = "for (let n = 0; n < 10; n++) run(); return (performance.now() - start) / 10"
    time_ms = f"(run => {{ const start = performance.now(); {tenth}; }})"
    assert page.value(f"{time_ms}(draw)") < 250, "too many ms per frame, even for a busy machine"
    assert page.value(f"{time_ms}(() => pointAt(300, 300))") < 50
    click_point(page, 0)
    assert page.value("view.chosen") >= 0


def test_a_page_has_no_nan_and_correctness_is_by_label_set():
    assert "NaN" not in page_of(10) and page_of(10).count("<script") == 2
    assert [correctness(("a", "b"), decided) for decided in (None, ("b", "a"), ("a",), ("c",), ())] == [
        *("not scored", "right", "partly right", "wrong", "wrong"),
    ]
    assert correctness((), ()) == correctness(("a",), ("a", "b"), ("b",)) == "right"


def scores_of(folder, clip_ids: list[str], truth: list[str], labels: LabelSpace = tone_corpus.LABELS) -> None:
    ids, names = np.array(clip_ids), tone_corpus.LABELS.names
    logits = np.array([[5.0 * (name == true) for name in names] for true in truth], dtype=np.float32)
    targets = np.eye(3, dtype=np.float32)[[names.index(one.split("_")[0]) for one in clip_ids]]
    windows = WindowScores(ids, ids, np.arange(len(ids)), np.zeros(len(ids)), logits, targets)
    write_scores(folder, {"test": windows}, labels, 0.5, "test")


def test_a_map_of_features_with_recordings_and_scores(tones, tone_features, tmp_path, opened):
    scores_of(tmp_path / "run", ["high_009.wav", "middle_008.wav"], ["low", "middle"])
    page_file = tmp_path / "map" / "index.html"
    options = {"data_dir": tones, "scores": [tmp_path / "run"], "projections": ["pca"]}
    found = write_embedding_map(load_features(tone_features), page_file.parent, **options)
    assert found == {"shown": 80, "of": 80, "labels": 0, "copies": 0, "groups": 0, "clusters": 0}
    assert list(csv.reader((page_file.parent / "neighbors.csv").open())) == [["list", "clip_id", "others", "text"]]
    page = opened(page_file.read_text(encoding="utf-8"))
    states = page.value("data.name.map((name, at) => [name, data.states[data.state[at]]])")
    assert {name: said for name, said in states if said != "not scored"} == {
        "high_009.wav": "wrong",
        "middle_008.wav": "right",
    }
    assert "78 clips have no scores." in page.value("find('#notes').textContent")
    assert str(tmp_path) not in page_file.read_text() and "http" not in page_file.read_text().replace("http-equiv", "")
    few = write_embedding_map(load_features(tone_features), tmp_path / "few", projections=["pca"], max_clips=20)
    assert few["shown"] == 20
    assert "This map shows 20 of 80 clips, drawn at random." in (tmp_path / "few" / "index.html").read_text()


def test_what_cannot_be_mapped_is_refused(tone_features, tmp_path):
    features = load_features(tone_features)
    scores_of(tmp_path / "run", ["high_999.wav"], ["low"])
    scores_of(tmp_path / "of others", ["high_009.wav"], ["low"], LabelSpace(("a", "b", "c"), SINGLE_LABEL))
    for options, sentence in (
        ({"projections": ["spca"]}, "Unknown projection 'spca'"),
        ({"projections": []}, "Found no projection; a map needs at least one"),
        ({"max_clips": embedding_map.MAX_POINTS + 1}, "Found --clips 20001; .* 1 to 20,000 clips"),
        ({"max_clips": 5}, "5 points are too few for a projection"),
        ({"splits": ["tset"]}, "Unknown split 'tset'"),
        ({"data_dir": tmp_path / "nowhere"}, "--data_dir .*nowhere does not exist"),
        ({"scores": [tmp_path / "run"]}, "None of the 80 clips is in .*run: give scores of a model"),
        (
            {"scores": [tmp_path / "of others"]},
            "other classes than these clips .'a' is only in one of them",
        ),
        ({"scores": [tmp_path / "run"] * 2}, "Both .*run and another run were tested on clip 'high_999.wav'"),
    ):
        with pytest.raises(InputError, match=sentence):
            write_embedding_map(features, tmp_path / "map", **options)
    assert not (tmp_path / "map").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"Cannot write .*file: .*; choose another --output_dir"):
        write_embedding_map(features, tmp_path / "file", projections=["pca"])
