"""A protocol applies to its own corpus and split only; the counts are those of the official lists."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pytest

from hf_audio.corpora import esc50, fma, gtzan, irmas, openmic, speech_commands, urbansound8k
from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.aggregation import AGGREGATIONS
from hf_audio.judging.evaluation_data import EvaluationData
from hf_audio.judging.protocols import PROTOCOLS, protocol_named, require_protocol
from hf_audio.metrics import METRIC_NAMES


def data_of(corpus, clip_ids: Sequence[str], names: Sequence[str], split: str = "test") -> EvaluationData:
    """Clips with only the names and the split that a protocol checks."""
    number = len(clip_ids)
    clips = pa.table({"clip_id": list(clip_ids), "split": [split] * number})
    labels = LabelSpace(tuple(names), corpus.CARD.problem_type or "single_label_classification")
    return EvaluationData("mine", clips, labels, corpus.CARD.name, split=split)


def gtzan_tracks(split: str) -> list[str]:
    return [f"genres/{name[:-6]}/{name}.wav" for name, its in gtzan.split_of_tracks().items() if its == split]


def words(split: str, number: int) -> list[str]:
    speakers = (f"{seed:08x}" for seed in range(10**6))
    own = [one for one in (next(speakers) for _ in range(600)) if speech_commands.split_of_speaker(one) == split]
    return [f"yes/{own[place % len(own)]}_nohash_{place // len(own)}.wav" for place in range(number)]


WHOLE = {
    "irmas": data_of(irmas, [f"Part1/{number}.wav" for number in range(2874)], irmas.INSTRUMENTS),
    "openmic": data_of(openmic, [f"audio/000/{number}.ogg" for number in range(5085)], openmic.INSTRUMENTS),
    "gtzan-fault-filtered": data_of(gtzan, gtzan_tracks("test"), gtzan.GENRES),
    "fma": data_of(fma, [f"000/{number:06}.mp3" for number in range(797)], ["Rock", "Folk"]),
    "esc50-folds": data_of(esc50, [f"audio/3-{number}-A-7.wav" for number in range(400)], ["dog", "rain"], "fold3"),
    "urbansound8k-folds": data_of(
        urbansound8k, [f"fold6/{number}-3-0-1.wav" for number in range(823)], ["siren", "drilling"]
    ),
    "speech-commands-35": data_of(speech_commands, words("test", 11005), speech_commands.WORDS),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_only_the_official_split_is_recognized(name):
    protocol, data = protocol_named(name), WHOLE[name]
    require_protocol(protocol, data, data.labels, len(data.clips))
    assert protocol.metric in METRIC_NAMES and protocol.aggregation in AGGREGATIONS
    assert set(protocol.facts()) == {"name", "metric", "aggregation", "split", "said"}
    clips = data.clips
    part = EvaluationData("mine", clips.slice(0, len(clips) - 9), data.labels, data.corpus, split=data.split)
    for other in (part, EvaluationData("mine", clips, data.labels, "folder", split=data.split)):
        with pytest.raises(InputError, match=f"This is not --protocol {name}, which tests on .*: .*evaluate without"):
            require_protocol(protocol, other, data.labels, len(other.clips))
    with pytest.raises(InputError, match=r"of its .* clips are evaluated"):
        require_protocol(protocol, data, data.labels, len(clips) - 1)
    fewer = LabelSpace(data.labels.names[1:], data.labels.problem_type)
    with pytest.raises(InputError, match="classes are left out"):
        require_protocol(protocol, data, fewer, len(clips))


def test_refusals_name_the_difference():
    def reason(name: str, data: EvaluationData) -> str:
        with pytest.raises(InputError) as refused:
            require_protocol(protocol_named(name), data, data.labels, len(data.clips))
        return str(refused.value)

    mixed = [*gtzan_tracks("test")[1:], gtzan_tracks("train")[0]]
    assert "1 clips are not in the list of the test tracks" in reason(
        "gtzan-fault-filtered", data_of(gtzan, mixed, gtzan.GENRES)
    )
    two = [f"audio/{1 + number % 2}-{number}-A-7.wav" for number in range(400)]
    assert "the clips are from 2 folds" in reason("esc50-folds", data_of(esc50, two, ["dog", "rain"]))
    assert "clips are from speakers of another split" in reason(
        "speech-commands-35", data_of(speech_commands, words("train", 11005), speech_commands.WORDS)
    )
    assert "the data have 2" in reason("irmas", data_of(irmas, ["a"] * 2874, ["cel", "cla"]))
    assert "it does not test on split train" in reason("fma", data_of(fma, ["000/1.mp3"] * 800, ["Rock"], "train"))
    with pytest.raises(InputError, match=r"Unknown protocol 'gtzan': (did you mean|expected one of)"):
        protocol_named("gtzan")
