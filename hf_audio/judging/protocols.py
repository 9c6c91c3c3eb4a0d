"""Standard evaluation protocols of corpora, by name, for scores that are comparable with published ones.

A protocol sets the metric, how window scores are aggregated per clip, and the test split. It applies only to its own
corpus and to all clips of the official split. To test on a subset or on another split, give the same flags without
--protocol.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hf_audio.corpora import fma, gtzan, irmas, openmic, speech_commands, urbansound8k
from hf_audio.corpora.esc50 import CARD as ESC50
from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError, unknown_name
from hf_audio.judging.evaluation_data import EvaluationData

# Clips of each official split. A complete copy of FMA may lack FMA_WITHOUT_AUDIO of them, which have no audio.
NUM_OPENMIC = {"test": 5085}
NUM_FMA = {"fma_small": {"validation": 800, "test": 800}, "fma_medium": {"validation": 2505, "test": 2573}}
FMA_WITHOUT_AUDIO = 6
NUM_SPEECH_COMMANDS = {"validation": 9981, "test": 11005}
NUM_ESC50_FOLD = 400
NUM_URBANSOUND8K_FOLDS = dict(
    zip((f"fold{number}" for number in range(1, 11)), (873, 888, 925, 990, 936, 823, 838, 806, 816, 837), strict=True)
)
NOT_TESTED = "it does not test on split {}"
ESC50_FILE = re.compile(r"(?:^|/)(?P<fold>[1-5])-[0-9]+-[A-Z]-[0-9]+\.\w+$")
URBANSOUND8K_FILE = re.compile(r"(?:^|/)(?P<fold>fold[0-9]+)/[0-9]+-[0-9]+-[0-9]+-[0-9]+\.\w+$")
WORD_FILE = re.compile(r"(?:^|/)\w+/(?P<speaker>[0-9a-z]+)_nohash_[0-9]+\.\w+$")


@dataclass(frozen=True)
class Protocol:
    """How a corpus is evaluated.

    Attributes:
        name: name of the protocol.
        corpus: title of the corpus.
        metric: the main metric, by its name in `hf_audio.metrics`.
        aggregation: from windows to clips, by its name in `judging.aggregation`.
        split: the official split, in words.
        said: a note for readers of the score, as one sentence.
        fault: returns why the evaluated clips are not the official split, "" if they are.
    """

    name: str
    corpus: str
    metric: str
    aggregation: str
    split: str
    said: str
    fault: Callable[[EvaluationData], str]

    def facts(self) -> dict[str, Any]:
        """For a report."""
        return {name: getattr(self, name) for name in ("name", "metric", "aggregation", "split", "said")}


def protocol_named(name: str) -> Protocol:
    """The protocol with a name.

    Raises:
        InputError: there is none; the message suggests the nearest name.
    """
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def require_protocol(protocol: Protocol, data: EvaluationData, judged: LabelSpace, num_judged: int) -> None:
    """Checks that an evaluation follows a protocol.

    Args:
        data: one split, see `EvaluationData.chosen`.
        judged: the evaluated classes, out of those of the data.
        num_judged: the number of evaluated clips.

    Raises:
        InputError: another corpus, other clips, or missing clips or classes.
    """
    if data.corpus != protocol.corpus:
        raise _not_it(protocol, f"{data.name} is read as {data.corpus!r}, not as {protocol.corpus!r}")
    fault = protocol.fault(data)
    if fault:
        raise _not_it(protocol, fault)
    if set(judged.names) != set(data.labels.names):
        left_out = [name for name in data.labels.names if name not in judged.names]
        raise _not_it(protocol, f"classes are left out ({', '.join(left_out[:5])})")
    if num_judged < len(data.evaluated):
        raise _not_it(protocol, f"only {num_judged:,} of its {len(data.evaluated):,} clips are evaluated")


def told(protocol: Protocol) -> str:
    """A line for --help."""
    return f"{protocol.name}: {protocol.metric}, {protocol.aggregation}, {protocol.split}"


def _not_it(protocol: Protocol, reason: str) -> InputError:
    return InputError(
        f"This is not --protocol {protocol.name}, which tests on {protocol.split}: {reason}; evaluate without "
        f"--protocol, with --aggregation {protocol.aggregation}"
    )


def _clip_ids(data: EvaluationData) -> list[str]:
    return data.evaluated["clip_id"].to_pylist()


def _num_fault(data: EvaluationData, expected: int | None, minimum: int | None = None) -> str:
    """A clause on a split whose number of clips differs from the official one; "" if it does not."""
    found = len(data.evaluated)
    if expected is None:
        return NOT_TESTED.format(data.split)
    if (expected if minimum is None else minimum) <= found <= expected:
        return ""
    return f"split {data.split} has {found:,} clips, but the official one has {expected:,}"


def _irmas(data: EvaluationData) -> str:
    names = set(irmas.INSTRUMENTS)
    if set(data.labels.names) != names:
        return f"it has {len(names)} instruments, but the data have {len(data.labels)}"
    return _num_fault(data, irmas.NUM_CLIPS["test"] if data.split == "test" else None)


def _openmic(data: EvaluationData) -> str:
    if set(data.labels.names) != set(openmic.INSTRUMENTS):
        return f"it has {len(openmic.INSTRUMENTS)} instruments, but the data have {len(data.labels)}"
    return _num_fault(data, NUM_OPENMIC.get(data.split))


def _gtzan(data: EvaluationData) -> str:
    listed = {name for name, split in gtzan.split_of_tracks().items() if split == data.split}
    if data.split == "train" or not listed:
        return NOT_TESTED.format(data.split)
    found = {match["name"] for one in _clip_ids(data) if (match := re.search(gtzan.TRACK, one))}
    if len(found) < len(data.evaluated) or found - listed:
        return f"{len(data.evaluated) - len(found & listed):,} clips are not in the list of the {data.split} tracks"
    missing = listed - found
    return f"{len(missing):,} of {len(listed):,} {data.split} tracks are missing" if missing else ""


def _fma(data: EvaluationData) -> str:
    """The subset is identified by its size."""
    sizes = [of_split[data.split] for of_split in NUM_FMA.values() if data.split in of_split]
    faults = [_num_fault(data, size, size - FMA_WITHOUT_AUDIO) for size in sizes]
    if "" in faults:
        return ""
    return faults[0] if faults else NOT_TESTED.format(data.split)


def _esc50(data: EvaluationData) -> str:
    folds = {match["fold"] for one in _clip_ids(data) if (match := ESC50_FILE.search(one))}
    if len(folds) != 1 or not all(ESC50_FILE.search(one) for one in _clip_ids(data)):
        return f"the clips are from {len(folds)} folds, not one, according to their file names"
    return _num_fault(data, NUM_ESC50_FOLD)


def _urbansound8k(data: EvaluationData) -> str:
    found = [URBANSOUND8K_FILE.search(one) for one in _clip_ids(data)]
    folds = {match["fold"] for match in found if match}
    if len(folds) != 1 or not all(found):
        return f"the clips are from {len(folds)} folds, not one, according to their folders"
    return _num_fault(data, NUM_URBANSOUND8K_FOLDS.get(folds.pop()))


def _speech_commands(data: EvaluationData) -> str:
    if set(data.labels.names) != set(speech_commands.WORDS):
        return f"it has {len(speech_commands.WORDS)} words, but the data have {len(data.labels)}"
    found = [WORD_FILE.search(one) for one in _clip_ids(data)]
    others = [match for match in found if not match or speech_commands.split_of_speaker(match["speaker"]) != data.split]
    if others:
        return f"{len(others):,} clips are from speakers of another split"
    return _num_fault(data, NUM_SPEECH_COMMANDS.get(data.split))


FOLD_SAID = "This is the score on one fold. The official score is the mean over all {} folds, each with its own model."
PROTOCOLS = {
    one.name: one
    for one in (
        Protocol(
            "irmas",
            irmas.CARD.name,
            "f1_micro",
            "sum_normalized",
            "the 2,874 test excerpts, 11 instruments",
            "Window scores are summed per excerpt and divided by the largest sum; micro and macro F1 at one threshold.",
            _irmas,
        ),
        Protocol(
            "openmic",
            openmic.CARD.name,
            "mean_average_precision",
            "mean_probability",
            "the 5,085 test clips of split 01, 20 instruments",
            "Each instrument is scored on the clips that were annotated for it; the result is the mean over "
            "instruments.",
            _openmic,
        ),
        Protocol(
            "gtzan-fault-filtered",
            gtzan.CARD.name,
            "accuracy",
            "mean_probability",
            "the 290 test tracks of Kereliuk, Sturm and Larsen (197 of validation)",
            "No artist is in two splits, and faulty tracks are excluded. Not comparable with random splits of GTZAN.",
            _gtzan,
        ),
        Protocol(
            "fma",
            fma.CARD.name,
            "accuracy",
            "mean_probability",
            "the official test split of fma_small (800 tracks) or fma_medium (2,573)",
            "Predicts the top-level genre of 30-second clips. No artist is in two splits.",
            _fma,
        ),
        Protocol(
            "esc50-folds",
            ESC50.name,
            "accuracy",
            "mean_probability",
            "one of the five official folds, 400 clips",
            FOLD_SAID.format("five"),
            _esc50,
        ),
        Protocol(
            "urbansound8k-folds",
            urbansound8k.CARD.name,
            "accuracy",
            "mean_probability",
            "one of the ten official folds",
            FOLD_SAID.format("ten"),
            _urbansound8k,
        ),
        Protocol(
            "speech-commands-35",
            speech_commands.CARD.name,
            "accuracy",
            "mean_probability",
            "the 11,005 test clips of version 2, 35 words",
            "All 35 words are classes; there is no class for silence or unknown words.",
            _speech_commands,
        ),
    )
}
