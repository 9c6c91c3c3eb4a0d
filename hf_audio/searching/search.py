"""Runs a search: parallel trials in their own processes, resumable after a kill, and shared by several machines.

OUTPUT_DIR/
  journal.log             the trials, unless --storage names another place
  place.json              ID of this folder among those that share a storage
  trials/00012/           a trial's run folder; 00012.log its output, 00012.lock held by the process that runs it
  features/               a feature dataset per combination of feature settings
"""

from __future__ import annotations

import contextlib
import math
import secrets
import time
from collections.abc import Callable, Generator
from pathlib import Path

from hf_audio.errors import InputError
from hf_audio.files import read_json, write_json
from hf_audio.finished_work import require_same
from hf_audio.locks import locked
from hf_audio.searching.kept_files import thin_out
from hf_audio.searching.objectives import score_while_training, values_of
from hf_audio.searching.plan import Plan, PlannedRun
from hf_audio.searching.study import Study
from hf_audio.searching.trial_process import TrialProcess, share_of_machine
from hf_audio.searching.trials import Trial, always_fail, best_of
from hf_audio.terminal import show

POLL_S = 0.2
BEAT_S = 60.0  # interval of the heartbeats of a running trial
LOST_S = 600.0  # a trial of another place without a heartbeat for this long is lost
PLACE, SEEN, FACTS, METRIC = "place", "seen", "facts", "metric"
MANIFEST = "manifest.json"  # of features, written last

Running = Generator[None, None, None]


class PruneError(Exception):
    """A trial is stopped because of its scores so far."""


class Search:
    """A resumable search, in this process and any others that share its storage.

    Args:
        plan: the plan.
        study: the stored trials.
        num_trials: number of trials of all processes together.
        num_jobs: parallel trials of this process.
        timeout_s: time after which no trial starts.
        told: called after each trial that ends here.

    Raises:
        InputError: the storage contains trials of another search.
    """

    def __init__(
        self,
        plan: Plan,
        study: Study,
        *,
        num_trials: int,
        num_jobs: int = 1,
        timeout_s: float | None = None,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self.plan, self.study, self.num_trials, self.num_jobs = plan, study, num_trials, num_jobs
        self._ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._told, self._swept, self._failures = told, set[int](), list[str]()
        (plan.folder / "trials").mkdir(parents=True, exist_ok=True)
        self.place = self._named_place()
        self._claim_study()

    def run(self) -> None:
        """Runs trials until there are enough, the time is up, or all combinations were tried."""
        slots: dict[int, Running] = {}
        try:
            while True:
                for slot in range(self.num_jobs):
                    if slot not in slots and (begun := self._next(slot)) is not None:
                        slots[slot] = begun
                if not slots:
                    return
                for slot, running in list(slots.items()):
                    if next(running, "ended") == "ended":
                        del slots[slot]
                        self.sweep()
                        self._told()
                time.sleep(POLL_S)
        finally:
            for running in slots.values():
                running.close()

    def is_over(self) -> bool:
        """Whether no other process still runs a trial."""
        return not any(one.state == "running" for one in self.study.trials())

    # Choosing the next trial.

    def _next(self, slot: int) -> Running | None:
        """Starts a trial: one that a killed process left, or else a new one; None if there is nothing to start."""
        with locked(self.plan.folder / "ask.lock", "choosing the next trial of this search"):
            trial = self._interrupted() or self._new()
            if trial is None:
                return None
            held = self._lock_of(trial.number)
        running = self._attend(trial, held, slot)
        next(running)
        return running

    def _new(self) -> Trial | None:
        trials = self.study.trials()
        is_late = self._ends_s is not None and time.monotonic() > self._ends_s
        if is_late or sum(one.is_tried for one in trials) >= self.num_trials or always_fail(trials, self._failures):
            return None
        trial = self.study.ask()
        if trial is not None:
            self.study.note_of_trial(trial.number, PLACE, self.place)
        return trial

    def _interrupted(self) -> Trial | None:
        """A trial of this place whose process is gone. Trials of lost places are queued again."""
        is_alone = sum(name.startswith(PLACE) for name in self.study.facts) <= 1
        for one in self.study.trials():
            if one.state != "running":
                continue
            if one.facts.get(PLACE, self.place if is_alone else None) != self.place:
                self._give_up_lost(one)
            elif self._is_free(one.number):
                if self.plan.space.is_drawn(one.params):
                    return one
                self.study.discard(one, "its process was killed while its settings were drawn")
        return None

    def _give_up_lost(self, one: Trial) -> None:
        """Queues a trial of another machine again if it has had no heartbeat for too long."""
        seen_s = one.facts.get(SEEN)
        if seen_s is None:
            self.study.note_of_trial(one.number, SEEN, time.time())
        elif time.time() - seen_s > LOST_S:
            show(
                f"Trial {one.number}: no heartbeat from its process for {LOST_S / 60:.0f} minutes; it will be run again"
            )
            self.study.again(one)

    def _lock_of(self, number: int) -> contextlib.ExitStack:
        path = self.plan.folder_of(number).with_suffix(".lock")
        stack = contextlib.ExitStack()
        stack.enter_context(locked(path, f"running trial {number}", wait=False))
        return stack

    def _is_free(self, number: int) -> bool:
        try:
            self._lock_of(number).close()
        except InputError:
            return False
        return True

    # Running a trial.

    def _attend(self, trial: Trial, held: contextlib.ExitStack, slot: int) -> Running:
        """Runs one trial, one step per `next`, and stores how it ended."""
        shown = ", ".join(f"{name} {_shown(value)}" for name, value in trial.params.items())
        show(f"Trial {trial.number}: {shown}")
        with held:
            try:
                values = yield from self._with_heartbeats(trial.number, self._values(trial, slot))
            except PruneError:
                self.study.prune(trial.number)
                show(f"Trial {trial.number}: pruned")
            except InputError as error:
                self.study.fail(trial.number, str(error))
                self._failures.append(str(error))
                show(f"Trial {trial.number}: failed: {error}")
            else:
                self.study.complete(trial.number, values)
                show(f"Trial {trial.number}: {', '.join(map(_shown, values))}")

    def _with_heartbeats(
        self, number: int, values: Generator[None, None, list[float]]
    ) -> Generator[None, None, list[float]]:
        """Stores every minute that a trial runs or waits for its features; otherwise other places consider it lost."""
        beaten_s = -math.inf
        with contextlib.closing(values):
            while True:
                if time.monotonic() - beaten_s > BEAT_S:
                    beaten_s = time.monotonic()
                    self.study.note_of_trial(number, SEEN, time.time())
                try:
                    next(values)
                except StopIteration as ended:
                    return ended.value
                yield

    def _values(self, trial: Trial, slot: int) -> Generator[None, None, list[float]]:
        """A trial's value per objective: the mean over folds, or the last of growing fractions."""
        found: list[list[float]] = []
        for run in self.plan.runs_of_trial():
            folder = self.plan.folder_of(trial.number) / run.name
            flags = self.plan.flags_of_run(trial.params, run)
            written = self.plan.runs.claimed(folder, [*flags])
            if not written.exists():
                yield from self._one_run(trial, run, folder, flags, slot)
            report = read_json(written)
            found.append(values_of(report, self.plan.objectives))
            self._note_metric(report)
            if run.step and len(self.plan.objectives) == 1 and len(found) < len(self.plan.runs_of_trial()):
                of_folds = self.plan.fidelity is None
                score = sum(one[0] for one in found) / len(found) if of_folds else found[-1][0]
                self._report(trial.number, run.step, score)
        if self.plan.fidelity == "train_fraction":
            return found[-1]
        return [sum(column) / len(column) for column in zip(*found, strict=True)]

    def _one_run(self, trial: Trial, run: PlannedRun, folder: Path, flags: list[str], slot: int) -> Running:
        """Runs a recipe once, and reports its scores as they arrive."""
        command = self.plan.runs.quick_command(folder, [*flags, *_of_trials(flags, self.plan), "--trial"])
        log, features = folder.with_name(f"{folder.name}.log"), self.plan.features_of(trial.params, run)
        builds = yield from self._turn_to_build(features)
        with builds, TrialProcess(command, folder, log, share_of_machine(slot, self.num_jobs)) as process:
            while True:
                ended = process.poll()
                if features is not None and (features / MANIFEST).exists():
                    builds.close()
                for number, said in process.new_scores():
                    score = score_while_training(said, self.plan.objectives[0])
                    if self.plan.reads_while_training and score is not None:
                        self._report(trial.number, number, score)
                if ended is not None:
                    break
                yield
            if not (folder / "report.json").exists():
                raise InputError(f"{process.why_it_failed()} ({folder.name}.log)")

    def _turn_to_build(self, features: Path | None) -> Generator[None, None, contextlib.ExitStack]:
        """Waits while another trial builds the same features. Returns the lock that makes other trials wait."""
        stack = contextlib.ExitStack()
        while features is not None and not (features / MANIFEST).exists():
            features.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(InputError):
                lock = features.with_name(f"{features.name}.lock")
                stack.enter_context(locked(lock, "building features for a trial", wait=False))
                break
            yield
        return stack

    def _report(self, number: int, step: int, score: float) -> None:
        if self.study.report(number, step, score):
            raise PruneError

    def _note_metric(self, report: dict) -> None:
        if METRIC not in self.study.facts:
            self.study.note(METRIC, report["main"])

    # Cleaning up.

    def sweep(self) -> None:
        """Removes checkpoints and weights of trials that are not the best; their reports stay."""
        trials = self.study.trials()
        best = {one.number for one in best_of(trials, self.study.maximized)}
        for one in trials:
            if one.state in ("running", "waiting") or one.number in best or one.number in self._swept:
                continue
            thin_out(self.plan.folder_of(one.number))
            self._swept.add(one.number)

    # Identity of the search and of this place.

    def _named_place(self) -> str:
        path = self.plan.folder / "place.json"
        with locked(self.plan.folder / "ask.lock", "choosing the next trial of this search"):
            if not path.exists():
                write_json(path, {PLACE: secrets.token_hex(8)})
            return read_json(path)[PLACE]

    def _claim_study(self) -> None:
        facts, known = self.plan.facts(), self.study.facts
        if FACTS in known:
            require_same(
                "The study contains the trials of another search, which",
                known[FACTS],
                facts,
                "give another --output_dir, or another --study in the same --storage",
            )
        else:
            self.study.note(FACTS, facts)
        self.study.note(f"{PLACE} {self.place}", True)


def _of_trials(flags: list[str], plan: Plan) -> list[str]:
    """Flags of all trials besides their settings: no loss curves, which nobody looks at."""
    given = plan.runs.settings.given
    is_network = plan.runs.settings.classical is None
    return ["--report_to=none"] if is_network and given.isdisjoint(("report_to", "track_pictures")) else []


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
