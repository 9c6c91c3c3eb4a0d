"""The HTML page of a report in a real Chromium: it sorts, plays sound, needs no network and runs no foreign script."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from judged_models import judged_model

from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.errors import InputError
from hf_audio.files import read_json, write_json
from hf_audio.gray_images import gray_png
from hf_audio.judging.page import Recording, write_page
from hf_audio.judging.plots import plot_lengths, plot_ranks
from hf_audio.judging.report import judge

HOSTILE = "</td><script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"
NAME = "<img src=x onerror=\"document.title='taken'\"> & more"
CLASSES = ("cello", HOSTILE, "piano")
SCORE = {"value": 0.8, "low": 0.7, "high": 0.9}
ROBUSTNESS = {
    "metric": "f1_micro",
    "num_clips": 7,
    "clean": {"metrics": {"f1_micro": SCORE, "mean_average_precision": SCORE}},
    "conditions": [
        {
            "degradation": "white_noise",
            "strength": 10.0,
            "unit": "dB SNR",
            "num_changed": 0,
            "same_decisions": 0.75,
            "metrics": {"f1_micro": SCORE, "mean_average_precision": {"value": None, "low": None, "high": None}},
        }
    ],
    "left_out": {"mono": "the model hears one channel"},
}
# A visitor's clicks, and what the page then shows. The results are written into the page, where --dump-dom shows them.
VISIT = """<script>
const found = {title: document.title, errors: []};
addEventListener("error", event => found.errors.push(String(event.message || event.target.src)), true);
const texts = cells => [...cells].map(cell => cell.textContent);
const tables = [...document.querySelectorAll("table")], heads = table => texts(table.rows[0].cells);
const classes = tables.find(table => heads(table)[0] === "class");
const f1 = heads(classes).indexOf("F1"), shown = () => texts([...classes.tBodies[0].rows].map(row => row.cells[f1]));
classes.rows[0].cells[f1].click();
found.rising = shown();
classes.rows[0].cells[f1].click();
found.falling = shown();
found.pairs = tables.filter(table => heads(table)[0] === "true").map(table => table.querySelectorAll("audio").length);
found.width = document.documentElement.scrollWidth;
found.plots = [...document.images].map(image => [image.complete, image.naturalWidth]);
const audio = document.querySelector("audio"), say = () => {
  found.resources = performance.getEntriesByType("resource").map(one => one.name);
  const said = document.createElement("output");
  said.id = "visit";
  said.textContent = JSON.stringify(found);
  document.body.append(said);
};
if (audio) {
  audio.onloadedmetadata = () => { found.seconds = audio.duration; say(); };
  audio.onerror = () => { found.seconds = "cannot be played"; say(); };
  audio.preload = "auto";
  audio.load();
} else say();
</script>"""


@pytest.fixture(scope="module")
def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"no browser to open the page in: none of {', '.join(names)} is installed")
    return path


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict[str, Recording], Path]:
    """A report of two models, the clips' recordings, and the folder that holds them."""
    folder = tmp_path_factory.mktemp("a folder & <b>")
    models = [judged_model(name, 90, CLASSES, skill=skill) for name, skill in (("good", 2.0), (HOSTILE, 0.5))]
    unknown = {"good": judged_model("good", 30, CLASSES, skill=0.0, seed=1)}
    windows_s = dict.fromkeys(("good", HOSTILE), 1.0)
    report = judge(
        models,
        split="test",
        data={"name": NAME},
        num_draws=100,
        unknown=unknown,
        windows_s=windows_s,
        robustness={"good": ROBUSTNESS},
    )
    tone = np.sin(np.arange(16_000) / 10).astype(np.float32) / 3
    soundfile.write(folder / "tone #1.wav", tone, 16_000)
    recordings = {
        name: Recording(folder / "tone #1.wav", 0.25, 0.75) for name in models[0].clips["clip_id"].to_pylist()
    }
    return report, recordings, folder


def visit(chromium: str, page: Path) -> dict:
    """What VISIT finds on a page, in a browser without a network."""
    copy = page.with_name("visited.html")
    copy.write_text(page.read_text().replace("</body>", VISIT + "</body>"))
    profile = page.parent / "profile"
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio"]
    command += [f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000"]
    shown = subprocess.run([*command, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=120)
    said = re.search(r'<output id="visit">(.*?)</output>', shown.stdout, re.DOTALL)
    assert said, shown.stderr[-2000:]
    return json.loads(html.unescape(said[1]))


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces each plot by a tiny image: plots take most of the time needed to write a page."""
    speck = gray_png(np.zeros((2, 2), dtype=np.uint8))
    monkeypatch.setattr("hf_audio.judging.page_cells.png", lambda figure: speck)


def test_a_browser_sorts_and_plays_and_runs_no_foreign_script(chromium, judged):
    report, recordings, folder = judged
    page = write_page(folder, report, recordings)
    found = visit(chromium, page)
    assert found["title"] == f"Evaluation of 2 models on {NAME} (test)" and found["errors"] == []
    rising, falling = ([float(one.split()[0]) for one in found[key]] for key in ("rising", "falling"))
    assert rising == sorted(rising) != falling == sorted(falling, reverse=True)
    assert found["pairs"] and all(found["pairs"])
    assert len(found["plots"]) > 15 and all(complete and width > 300 for complete, width in found["plots"])
    assert found["seconds"] == pytest.approx(1.0, abs=0.01)  # the length of the whole file, of which a part is played
    assert 'src="tone%20%231.wav#t=0.25,0.75"' in page.read_text() and str(folder) not in page.read_text()
    assert [one for one in found["resources"] if not one.startswith(("file:", "data:"))] == []
    assert page.stat().st_size < 4 << 20
    assert "white noise 10 dB SNR" in page.read_text() and "Not tested: mono" in page.read_text()
    assert "No recording is changed by white noise 10 dB SNR." in page.read_text()


def test_a_page_with_embedded_sounds_plays_them(chromium, judged, tmp_path, no_plots):
    report, recordings, _ = judged
    page = write_page(tmp_path, report, recordings, embed_sounds=True)
    found = visit(chromium, page)
    assert found["errors"] == [] and all(found["pairs"])
    assert found["seconds"] == pytest.approx(0.5, abs=0.1)
    assert [one for one in found["resources"] if not one.startswith("data:")] == []
    assert "tone" not in page.read_text()


def test_a_stored_report_gives_the_same_page(judged, tmp_path, no_plots):
    report, _, _ = judged
    write_json(tmp_path / "report.json", report)
    of_memory = write_page(tmp_path, report).read_text()
    assert write_page(tmp_path, read_json(tmp_path / "report.json")).read_text() == of_memory
    assert "Score on 7 of the clips" in of_memory
    assert "cannot be played here" in of_memory and "<audio" not in of_memory
    assert all(address.startswith(("data:", "#")) for address in addresses(of_memory))


def addresses(page: str) -> list[str]:
    """All addresses in a page's src and href attributes."""
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.extend(
        value for name, value in attributes if name in ("src", "href", "srcset", "action", "data", "poster", "style")
    )
    parser.feed(page)
    assert found
    return found


def test_a_page_explains_itself_in_words(tmp_path, no_plots):
    models = [judged_model("net", 60, task=SINGLE_LABEL)]
    report = judge(models, split="test", data={"name": "Songs"}, num_draws=100, risk=0.4)
    report["models"]["net"]["weights"] = {"flat": 0.25, "deep": 0.75}
    text = write_page(tmp_path, report).read_text()
    interval = report["models"]["net"]["metrics"]["accuracy"]
    assert "<title>Evaluation of net on Songs (test)</title>" in text
    assert f"<strong>accuracy {interval['value']:.3f}</strong>" in text
    assert f"{100 * interval['value']:.0f} of 100 clips are classified correctly" in text
    assert f"95% confidence interval is {interval['low']:.3f} to {interval['high']:.3f}" in text
    assert f"scores {report['baseline']['metrics']['accuracy']:.3f}" in text
    for heading in ("Confusions", "Calibration and confidence", "Slices of the data", "Clip length"):
        assert f">{heading}</h3>" in text
    assert "device" in text and "phone" in text
    assert f"from {report['data']['num_groups']} groups (recordings" in text and "(deep 75%, flat 25%)." in text
    assert "for at most 40.0% wrong predictions" in text


def test_a_page_counts_groups_only_where_they_are_known(tmp_path, no_plots):
    alone = [judged_model("net", 60, task=SINGLE_LABEL, clips_each_group=1)]
    text = write_page(tmp_path, judge(alone, split="test", num_draws=80)).read_text()
    assert " groups (recordings" not in text and "resampling clips" in text


def test_axis_labels_of_seconds_are_plain_numbers():
    rows = [{"seconds": seconds, "metrics": {"accuracy": SCORE}} for seconds in (10.0, 20.0, 30.0)]
    (axes,) = plot_lengths({"joined": rows}, "accuracy").axes
    assert [one.get_text() for one in axes.get_xticklabels()] == ["10", "20", "30"]
    assert not axes.get_xticks(minor=True).size


def test_excerpts_without_recordings_are_refused(judged, tmp_path):
    with pytest.raises(InputError, match="Excerpts need recordings"):
        write_page(tmp_path, judged[0], embed_sounds=True)


def test_a_plot_of_ranks_connects_models_that_do_not_differ():
    ranks = {"mean_ranks": {"worst": 2.8, "best": 1.2, "second": 2.0}, "together": [["best", "second"]]}
    (axes,) = plot_ranks(ranks).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["best", "second", "worst"]
    (bar,) = axes.lines
    assert list(bar.get_xdata()) == [1.2, 2.0]
