"""Search spaces: their files, what is refused, samplers, pruners, and figures of a search."""

from __future__ import annotations

import json
import math
import runpy
import sys
import threading
from pathlib import Path

import pytest
from corpus_trees import write_sound

from hf_audio import InputError, parse_recipe
from hf_audio.repeated_runs import as_words
from hf_audio.searching import plots
from hf_audio.searching.space import Space
from hf_audio.searching.space_file import read_space
from hf_audio.searching.study import Study
from hf_audio.searching.trials import Trial, always_fail, best_of

ROOT = Path(__file__).parents[1]
EITHER = "kind:\n  either:\n    plain: {}\n    focal: {loss: focal, focal_gamma: {low: 0.5, high: 4}}\n"
LADDERS = "a: {low: 0.1, high: 0.9, step: 0.1}\nb: {low: 1, high: 2}\n"  # in floating point, 0.1 + 2 * 0.1 is not 0.3
MIXED = "a: [1, 2, 1e-4]\nb: {low: 1, high: 3}\nc: [[1, 2], [3]]\n"


def space_of(text: str, tmp_path: Path) -> Space:
    (tmp_path / "space.yaml").write_text(text)
    return read_space(tmp_path / "space.yaml")


def test_a_space_turns_values_into_flags(tmp_path):
    space = space_of(MIXED + EITHER + "model_options: {dropout: [0.1], hidden_size: [8]}\n", tmp_path)
    assert space.size is None and space_of(MIXED, tmp_path).size == 18
    flags = space.flags(
        {"a": 1e-4, "c": "[1, 2]", "kind": "focal", "kind.focal.loss": "focal", "kind.focal.focal_gamma": 2,
         "model_options.dropout": 0.1},
        {"model_options": {"num_layers": 3}},
    )  # fmt: skip
    assert flags == {
        **{"a": 0.0001, "c": [1, 2], "loss": "focal", "focal_gamma": 2.0},
        "model_options": {"num_layers": 3, "dropout": 0.1},
    }
    assert as_words({"x": True, "y": {"z": 1}, "w": [1, 2]}) == ["--x=true", '--y={"z": 1}', "--w", "1", "2"]
    assert [str(one) for one in space.dimensions[:4]] == [
        *("a one of 1, 2, 0.0001", "b from 1 to 3", "c one of '[1, 2]', '[3]'"),
        "kind one of 'plain', 'focal' (kind.focal.loss one of 'focal', kind.focal.focal_gamma from 0.5 to 4.0)",
    ]
    for params in ({"a": 3}, {"b": 9}, {"b": "2; rm"}, {"output_dir": "/"}, {"a": True}):
        with pytest.raises(InputError, match="which the space does not"):
            space.flags(params)  # from a journal that someone else wrote


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "has no setting"),
        ("a: 3", "a has 3: expected a list of values"),
        ("a: []", "a has no value"),
        ("a: [1, 1]", "a has duplicate values"),
        ("a: {lo: 1, high: 2}", "did you mean 'low'"),
        ("a: {low: 1}", "must have the numbers low and high"),
        ("a: {low: 2, high: 1}", "from 2 to 1 is not a valid range"),
        ("a: {low: 0, high: 1, log: true}", "is not a valid range"),
        ("a: {low: 1, high: 4, log: true, step: 2}", "log and step"),
        ("a: {low: 1, high: 6, step: 2}", "a from 1 in steps of 2 ends at 5: write high: 5"),
        ("a: {low: 0, high: 1000000}", "more than 100,000 steps"),
        ("a: {either: [1, 2]}", "an invalid `either`"),
        ("loss: [focal]\n" + EITHER, "sets loss twice"),
        ("a: &x [1]\nb: *x", "has an alias"),
    ],
)
def test_a_bad_space_is_refused_with_what_is_expected(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        space_of(text, tmp_path)


@pytest.mark.parametrize("path", sorted((ROOT / "spaces").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_space_fits_its_recipe(path):
    name = "svm_gtzan" if path.stem in ("svm", "boosting") else "rnn_gtzan"
    values = runpy.run_path(str(ROOT / "recipes" / f"{name}.py"))["VALUES"]
    space = read_space(path)
    extra = ["--classical_model", "boosting"] if path.stem == "boosting" else []
    for index in (0, -1):
        params = space.draw(lambda one, index=index: one.ends[index])
        recipe = parse_recipe(values, argv=[*extra, *as_words(space.flags(params))])
        assert {one.flag.partition(".")[0] for one in space.all_dimensions} <= recipe.given
    assert path.stem != "gtzan_grid" or space.size == 2700


def score(params: dict) -> float:
    return -((math.log10(params["x"]) + 1.5) ** 2) - params.get("y", 0) ** 2


RANGES = "x: {low: 1e-3, high: 1.0, log: true}\ny: {low: -1.0, high: 1.0}\n"


@pytest.mark.parametrize(("sampler", "number", "least"), [("tpe", 24, -0.2), ("cmaes", 30, -0.05), ("random", 8, -9)])
def test_samplers_find_the_maximum_and_repeat_nothing_after_resuming(tmp_path, sampler, number, least):
    space, journal = space_of(RANGES, tmp_path), str(tmp_path / "journal.log")
    for index in range(number):
        if index % 6 == 0:  # a new process, as after a kill
            study = Study(journal, "s", space, [True], sampler=sampler)
        trial = study.ask()
        study.complete(trial.number, [score(trial.params)])
    trials = study.trials()
    assert len({trial.key for trial in trials if trial.is_tried}) == number == sum(one.is_tried for one in trials)
    (best,) = best_of(trials, [True])
    assert best.values[0] >= least
    assert set(study.importances()) == {"x", "y"}


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
@pytest.mark.parametrize("text", [MIXED, LADDERS], ids=["lists", "ladders"])
def test_two_searches_with_a_shared_journal_try_every_combination_once(tmp_path, sampler, text):
    space, journal = space_of(text, tmp_path), str(tmp_path / "journal.log")
    studies = [Study(journal, "s", space, [True], sampler=sampler) for _ in range(2)]
    for index in range(18):
        trial = studies[index % 2].ask()
        if index % 5 == 4:
            studies[index % 2].fail(trial.number, "crashed")
        else:
            studies[index % 2].complete(trial.number, [float(trial.params["b"])])
    assert studies[0].ask() is studies[1].ask() is None, "all combinations were tried"
    assert len({one.key for one in studies[0].trials() if one.is_tried}) == 18


def test_two_searches_that_draw_the_same_at_once_do_not_both_try_it(tmp_path):
    space, journal = space_of("a: [1]\n", tmp_path), str(tmp_path / "journal.log")
    one, other = Study(journal, "s", space, [True]), Study(journal, "s", space, [True])
    begun = one._study.ask()
    draws = threading.Timer(0.5, lambda: begun.suggest_categorical("a", [1]))
    draws.start()
    assert other.ask() is None, "the first search has it"
    draws.join()


def test_a_journal_is_repaired_after_a_kill_and_a_lost_trial_is_repeated(tmp_path):
    space, journal = space_of(RANGES, tmp_path), tmp_path / "journal.log"
    lost = Study(str(journal), "s", space, [True]).ask()
    with journal.open("a") as file:
        file.write('{"op_code": 4, "stu')  # killed while writing
    study = Study(str(journal), "s", space, [True])
    study.again(lost)
    again = study.ask()
    assert again.params == lost.params and again.number != lost.number
    study.complete(again.number, [1.0])
    study.complete(again.number, [2.0])  # reported twice: the first counts
    assert [one.is_tried for one in study.trials()] == [False, True] and study.trials()[1].values == (1.0,)
    half = study._study.ask()
    half.suggest_float("x", 1e-3, 1.0, log=True)  # killed before y was drawn
    assert [space.is_drawn(one.params) for one in study.trials()] == [True, True, False]
    mixed = space_of(EITHER, tmp_path)
    drawn = [{"kind": "plain"}, {"kind": "focal"}, {"kind": "focal", "kind.focal.loss": "focal"}, {}, {"kind": "x"}]
    assert [mixed.is_drawn(params) for params in drawn] == [True, False, False, False, False]
    (tmp_path / "none.log").write_text("no journal\n")
    with pytest.raises(InputError, match="The study 's' cannot be opened"):
        Study(str(tmp_path / "none.log"), "s", space, [True])
    with pytest.raises(InputError, match=r"--storage mysql://\.\.\. cannot be opened") as caught:
        Study("mysql://me:secret@localhost/x", "s", space, [True])
    assert "secret" not in str(caught.value)


def test_a_database_with_several_objectives_gives_a_pareto_front(tmp_path):
    space = space_of(RANGES, tmp_path)
    study = Study(f"sqlite:///{tmp_path}/s.db", "s", space, [True, False], sampler="nsga2", population=4)
    for _ in range(9):
        trial = study.ask()
        study.complete(trial.number, [score(trial.params), trial.params["x"]])
    front = best_of(study.trials(), study.maximized)
    scored = [one.values for one in study.trials() if one.values]
    for one in front:
        assert not any(better > one.values[0] and cheaper < one.values[1] for better, cheaper in scored)
    assert [one.values for one in front] == sorted((one.values for one in front), reverse=True)
    drawn = plots.pareto_front(study.trials(), ["score", "cost"], study.maximized)
    line = drawn.axes[0].lines[0]
    assert sorted(zip(line.get_ydata(), line.get_xdata(), strict=True)) == sorted(one.values for one in front)
    with pytest.raises(InputError, match="give another --study"):
        Study(f"sqlite:///{tmp_path}/s.db", "s", space, [True])
    for sampler, text, message in (
        ("grid", RANGES, "infinite"),
        ("cmaes", MIXED, "the choices a, c"),
        ("tpy", "", "'tpe'"),
    ):
        with pytest.raises(InputError, match=message):
            Study(str(tmp_path / "j"), "s", space_of(text or RANGES, tmp_path), [True], sampler=sampler)


@pytest.mark.parametrize(("pruner", "ended"), [("median", 3), ("halving", 1), ("hyperband", 1), ("none", None)])
def test_pruners_stop_trials_that_are_worse_than_others(tmp_path, pruner, ended):
    study = Study(str(tmp_path / "j"), "s", space_of(RANGES, tmp_path), [True], pruner=pruner, resources=(1, 9))
    for number in range(12):
        trial = study.ask()
        asked = [study.report(trial.number, step, 0.1 * step if number < 11 else 0.0) for step in range(1, 10)]
        study.complete(trial.number, [0.9]) if number < 11 else study.prune(trial.number)
    assert (True in asked) == (ended is not None)
    assert study.trials()[-1].state == "pruned"


def test_figures_show_every_trial_of_any_space(tmp_path):
    space = space_of(MIXED + EITHER, tmp_path)
    drawn = list(space_of(MIXED, tmp_path).combinations())
    trials = [
        Trial(number, "complete", (number / 20,), {**params, "kind": "plain"}, duration_s=1.0)
        for number, params in enumerate(drawn)
    ]
    trials[3:5] = [Trial(3, "pruned", (0.1,), drawn[3]), Trial(4, "failed", (), drawn[4], duration_s=2.0)]
    complete = [one for one in trials if one.state == "complete"]
    panels = plots.slices(trials, space, "accuracy").axes
    titles = [panel.get_xlabel() for panel in panels if panel.get_visible()]
    assert titles == ["a", "b", "c", "kind", "focal_gamma"]
    assert len(panels[1].collections[0].get_offsets()) == len(complete)
    lines = plots.parallel_coordinates(trials, space, "accuracy", True).axes[0].lines
    assert len(lines) == len(complete) + 5, "one line per trial and one axis per setting"
    assert len(plots.history(trials, "accuracy", True).axes[0].collections) == 2
    assert plots.contour(trials, space, ["b", "a"], "accuracy").axes[0].get_xlabel() == "b"
    assert plots.contour(trials, space, ["b", "kind.focal.focal_gamma"], "accuracy") is None
    assert len(plots.durations(trials).axes[0].containers) == 2
    equal = [Trial(number, "complete", (0.4,), trials[number].params) for number in range(3)]
    assert all(float(tick).is_integer() for tick in plots.history(equal, "accuracy", True).axes[0].get_xticks())
    bar = plots.parallel_coordinates(equal, space, "accuracy", True).axes[1]
    assert bar.get_ylim() == pytest.approx((0.38, 0.42)), "the color bar has a range even for equal scores"


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Returns the error of scripts/tune.py for a command line."""

    def say(space: str, *flags: str, recipe: str = "cnn_folder") -> str:
        (tmp_path / "space.yaml").write_text(space)
        (tmp_path / "theirs.yaml").write_text("push_to_hub: true\n")
        for name in ("high/a", "high/b", "high/c", "low/a", "low/b", "low/c"):
            write_sound(tmp_path / f"{name}.wav", 0.1, 0, [440.0], 16_000)
        path = str(ROOT / "recipes" / f"{recipe}.py")
        argv = ["tune.py", path, "--space", "space.yaml", "--data_dir", "none", *flags]
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError) as caught:
            runpy.run_path(str(ROOT / "scripts" / "tune.py"))["main"]()
        return str(caught.value)

    return say


@pytest.mark.parametrize(
    ("space", "flags", "message"),
    [
        ("learning_rat: [1e-3]", (), "did you mean '--learning_rate'?"),
        ("model_options: {dropuot: [0.1]}", (), "'dropout'"),
        ("warmup_steps: [0.1, -3]", (), "space.yaml, with warmup_steps -3: --warmup_steps must be 0 or more"),
        ("focal_gamma: {low: 1, high: 2}", (), "--focal_gamma would have no effect here"),
        ("output_dir: [a]", (), "searches --output_dir, which this script sets"),
        ("train_fraction: [0.5]", ("--fidelity", "train_fraction"), "which --fidelity or --folds sets"),
        ("seed: [1]", ("--objectives", "parameters"), "has no measure of quality"),
        ("seed: [1]", ("--objectives", "accurcy"), "did you mean 'accuracy'"),
        ("seed: [1]", ("--objectives", "score", "milliseconds", "--jobs", "2"), "parallel trials slow each other"),
        ("seed: [1]", ("--objectives", "score", "parameters", "--pruner", "median"), "pruned by one score"),
        ("seed: [1]", ("--pruner", "hyperband", "--max_steps", "3"), "here there are none"),
        ("seed: [1]", ("--trials", "0"), "--trials must be 1 or more"),
        ("seed: [1]", ("--sampler", "tpee"), "did you mean 'tpe'"),
        ("seed: [1]", ("--push_to_hub",), "--push_to_hub is set by this script"),
        ("seed: [1]", ("--config", "theirs.yaml"), "--push_to_hub is set by this script"),
        (
            "seed: [1]",
            ("--train_fraction", "0.5", "--fidelity", "train_fraction"),
            "--train_fraction is set by --fidelity",
        ),
        ("model: [cnn, rnn]", (), "with model rnn: rnn needs classical features, but these are fbank: use --features"),
        ("seed: [1]", ("--data_dir", "."), "has no validation split, on which trials are compared: give --validation"),
        ("loss: [focal, asymmetric]", ("--data_dir", ".", "--validation_fraction", "0.3"), "with loss asymmetric: "),
    ],
)
def test_bad_commands_are_refused_before_the_first_trial(refused, tmp_path, space, flags, message):
    assert message in refused(space, *flags)
    assert not (tmp_path / "found").exists()


def test_trials_of_classical_models_have_no_epochs(refused):
    said = refused("svm_c: [1.0]", "--fidelity", "epochs", "--corpus", "folder", recipe="svm_gtzan")
    assert "here there are none" in said
    assert "give score milliseconds" in refused(
        "svm_c: [1.0]", "--objectives", "score", "parameters", recipe="svm_gtzan"
    )
    assert "only applies to --classical_model boosting" in refused("boosting_leaves: [4]", recipe="svm_gtzan")


def test_incomplete_and_repeated_lines_of_a_trial_are_no_scores(tmp_path):
    from hf_audio.searching.trial_process import TrialProcess

    lines = [{"step": 3, "main": "accuracy", "scores": {"accuracy": 0.5}}, {"step": 3, "scores": {}}, {"step": "x"}]
    (tmp_path / "trial.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\nno\n{"step": 6, "sc')
    with TrialProcess([sys.executable, "-c", "input()"], tmp_path, tmp_path / "log", {}) as process:
        assert [number for number, _ in process.new_scores()] == [1]
        with (tmp_path / "trial.jsonl").open("a") as file:
            file.write('ores": {"accuracy": 1}}\n')
        assert [(number, said["step"]) for number, said in process.new_scores()] == [(2, 6)]
    assert process.poll() is not None, "the trial ends when its standard input is closed"


def test_a_search_without_scores_ends_if_all_trials_fail_for_one_reason():
    failed = [Trial(number, "failed", (), {}) for number in range(5)]
    alike = [f"The window of 3 s is longer than every clip ({number:05}.log)" for number in range(5)]
    assert always_fail(failed, alike) and not always_fail(failed[:4], alike[:4])
    assert not always_fail(failed, [*alike[:4], "another reason (00004.log)"])
    assert not always_fail([*failed, Trial(5, "complete", (0.5,), {})], alike)
