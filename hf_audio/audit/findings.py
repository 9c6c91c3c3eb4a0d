"""Problems with the recordings of a corpus: unusable files, poor sound, copies that leak between splits."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.audit.clip_facts import ClipFacts
from hf_audio.audit.fact_store import FactStore
from hf_audio.audit.fingerprints import copies
from hf_audio.data.index.columns import is_one_of, without_mixtures
from hf_audio.data.index.table import Clip, rows_of
from hf_audio.errors import InputError

SEVERITIES = ("error", "warning", "note")
# A thousandth of all samples clipped is an audible crackle; a few clipped peaks are not audible.
CLIPPED = 0.001
# Peaks below -40 dB use at most 9 of 16 bits; below -60 dB RMS, codec and converter noise is as loud as the sound.
QUIET_PEAK, QUIET_RMS = 0.01, 0.001
MOSTLY_QUIET = 0.8
OFFSET = 0.01  # -40 dB: the offset of a working sound card is a hundredth of that
CANCELLED_DB = -20.0  # what is left in mono when channels oppose each other; unrelated channels lose 3 dB
MISSING = 0.01  # share of the bytes promised by a header: less can be a header that counts padding
# A clip is an outlier if at least this share of the corpus has another value.
USUAL = 0.9
# A length is an outlier if it differs from the median by this factor and by this many standard deviations.
ODD_LENGTH, ODD_DEVIATIONS = 4.0, 5.0
MIN_FOR_ODD = 10
FORMAT_OF_SUFFIX = {
    **dict.fromkeys((".wav", ".wave"), ("WAV", "WAVEX", "RF64")),
    **dict.fromkeys((".aif", ".aiff", ".aifc"), ("AIFF",)),
    **dict.fromkeys((".ogg", ".oga", ".opus"), ("OGG",)),
    **dict.fromkeys((".au", ".snd"), ("AU",)),
    **dict.fromkeys((".m4a", ".m4b", ".mp4", ".mov", ".3gp"), ("MP4",)),
    **dict.fromkeys((".webm", ".weba", ".mkv", ".mka"), ("MATROSKA",)),
    **{f".{name}": (name.upper(),) for name in ("flac", "mp3", "caf", "w64", "rf64")},
}


@dataclass(frozen=True)
class Finding:
    """One problem of one clip.

    Attributes:
        clip_id: the clip.
        finding: kind of the finding: "broken", "silent", "leak", "cut off", "clipped", "too quiet", "channels cancel",
            "duplicate", "near-duplicate", "mostly quiet", "dead channel", "offset", "wrong suffix", "unlike the rest".
        severity: "error" (unusable, or invalidates scores), "warning" (may hurt) or "note".
        detail: the reason or the measured value, in a few words.
        other: the clip_id of the original, if this clip is a copy.
    """

    clip_id: str
    finding: str
    severity: str
    detail: str
    other: str = ""


def audit_clips(
    clips: pa.Table,
    *,
    store: FactStore | Path | None = None,
    num_workers: int | None = None,
    token: str | bool | None = None,
) -> list[Finding]:
    """Decodes every clip of an index and reports its problems, errors first.

    Recordings are read in chunks and only fingerprints are kept, so memory use does not depend on their length.
    Recordings in containers and on the Hub are read in place. Mixtures have no recordings and are skipped.

    Args:
        clips: an index.
        store: file for the measurements, so that an interrupted audit of the same clips is resumed. Default: none.
        num_workers: number of decoding processes. Default: one per core.
        token: Hub token, for recordings there.

    Raises:
        InputError: no clips, the store's file cannot be written, or a container is damaged or cannot be reached.
    """
    if store is None:
        with TemporaryDirectory() as folder:
            return audit_clips(clips, store=Path(folder) / "facts.jsonl", num_workers=num_workers, token=token)
    index = without_mixtures(clips)
    clips = list(rows_of(index))
    if not clips:
        raise InputError("There are no clips to audit; the index is empty")
    store = store if isinstance(store, FactStore) else FactStore(store)
    try:
        facts = store.examine(index, num_workers, token)
    except OSError as error:
        raise InputError(
            f"Cannot write {store.path}: {os.strerror(error.errno or 0)}; choose another folder"
        ) from error
    findings = [finding for clip, known in zip(clips, facts, strict=True) for finding in _of_one_clip(clip, known)]
    findings += _unlike_the_rest(facts)
    findings += _copies(clips, store)
    order = {clip.clip_id: number for number, clip in enumerate(clips)}
    return sorted(findings, key=lambda one: (SEVERITIES.index(one.severity), one.finding, order[one.clip_id]))


def usable_clips(clips: pa.Table, findings: Sequence[Finding]) -> pa.Table:
    """The clips that can be decoded, with only the first of several copies."""
    dropped = {one.clip_id for one in findings if is_useless(one)}
    return clips.filter(pc.invert(is_one_of(clips["clip_id"], dropped)))


def is_useless(finding: Finding) -> bool:
    """Whether the clip cannot be decoded or is a copy of another."""
    return finding.finding in ("broken", "silent") or bool(finding.other)


def _of_one_clip(clip: Clip, facts: ClipFacts) -> Iterator[Finding]:
    def found(finding: str, severity: str, detail: str) -> Finding:
        return Finding(clip.clip_id, finding, severity, detail)

    if facts.error is not None:
        yield found("silent" if facts.error.startswith("silent") else "broken", "error", facts.error)
        return
    if facts.missing > MISSING:
        yield found("cut off", "warning", f"{facts.missing:.0%} of the sound promised by the header is missing")
    elif facts.lacks_end:
        yield found("cut off", "warning", "the last page of the Ogg file is missing, as after an interrupted download")
    if facts.clipped > CLIPPED:
        yield found("clipped", "warning", f"{facts.clipped:.2%} of the samples are at full scale")
    if facts.peak < QUIET_PEAK or facts.rms < QUIET_RMS:
        yield found("too quiet", "warning", f"peak {_decibels(facts.peak)}, RMS {_decibels(facts.rms)}")
    elif facts.quiet > MOSTLY_QUIET:
        yield found("mostly quiet", "note", f"{facts.quiet:.0%} of the clip is below -60 dB")
    if facts.mix_db < CANCELLED_DB and not facts.dead_channels:
        yield found("channels cancel", "warning", f"{-facts.mix_db:.0f} dB quieter in mono than in its channels")
    if facts.dead_channels:
        yield found("dead channel", "note", f"{facts.dead_channels} of {facts.channels} channels are silent")
    if abs(facts.offset) > OFFSET:
        yield found("offset", "note", f"the mean of the samples is {facts.offset:+.3f}")
    suffix = _suffix(clip)
    expected = FORMAT_OF_SUFFIX.get(suffix.lower())
    if expected and facts.format not in expected:
        yield found("wrong suffix", "note", f"{facts.format} file named {suffix}")


def _suffix(clip: Clip) -> str:
    """The suffix of a recording's file name. For files in a container, clip_id holds that name."""
    if clip.path.endswith(".tar") and clip.audio_field:
        return f".{clip.audio_field}"
    return os.path.splitext(clip.path if clip.audio_row is None else clip.clip_id.partition("#")[0])[1]


def _decibels(level: float) -> str:
    return f"{20 * np.log10(max(level, 1e-9)):.0f} dB"


def _unlike_the_rest(facts: Sequence[ClipFacts]) -> Iterator[Finding]:
    """Unusual sample rates and numbers of channels, and lengths far from the median."""
    facts = [one for one in facts if one.error is None]
    if len(facts) < MIN_FOR_ODD:
        return
    for name, unit in (("sample_rate", "Hz"), ("channels", "channel(s)")):
        ((usual, count),) = Counter(getattr(one, name) for one in facts).most_common(1)
        for one in facts if USUAL <= count / len(facts) < 1 else ():
            if getattr(one, name) != usual:
                detail = f"{getattr(one, name)} {unit}, {count} of {len(facts)} clips have {usual}"
                yield Finding(one.clip_id, "unlike the rest", "note", detail)
    lengths = np.log([one.duration_s for one in facts])
    middle = float(np.median(lengths))
    usual_deviation = 1.4826 * float(np.median(np.abs(lengths - middle)))  # standard deviation, if normal
    farthest = max(np.log(ODD_LENGTH), ODD_DEVIATIONS * usual_deviation)
    for one, length in zip(facts, lengths.tolist(), strict=True):
        if abs(length - middle) > farthest:
            detail = f"{one.duration_s:.3g} s long; the median length is {np.exp(middle):.3g} s"
            yield Finding(one.clip_id, "unlike the rest", "note", detail)


def _copies(clips: Sequence[Clip], store: FactStore) -> Iterator[Finding]:
    """One finding for each copy of an earlier clip; a leak if labels, groups or splits disagree."""
    same: dict[str, list[int]] = defaultdict(list)
    for number, facts in enumerate(store.facts):
        if facts.error is None:
            same[facts.digest].append(number)
    for first, *others in same.values():
        for other in others:
            yield _copy(clips[first], clips[other], "duplicate", "the same samples")
    different = [numbers[0] for numbers in same.values()]
    plots = (store.plot(number) for number in different)
    found: set[int] = set()
    for one, other, similarity in copies(plots, len(different)):
        earlier, later = clips[different[one]], clips[different[other]]
        # clips of one recording may overlap on purpose
        if other not in found and earlier.recording != later.recording:
            found.add(other)
            yield _copy(earlier, later, "near-duplicate", f"{similarity:.0%} similar")


def _copy(first: Clip, copy: Clip, finding: str, detail: str) -> Finding:
    splits = {first.split, copy.split}
    if len(splits) == 2:
        where = f"in two splits, {first.split} and {copy.split}"
    elif set(first.labels) != set(copy.labels):
        where = f"with two labels, {_words(first)} and {_words(copy)}"
    elif first.group != copy.group:
        where = f"in two groups, {first.group} and {copy.group}"
    else:
        return Finding(copy.clip_id, finding, "warning", detail, first.clip_id)
    return Finding(copy.clip_id, "leak", "error", f"{finding} ({detail}) {where}", first.clip_id)


def _words(clip: Clip) -> str:
    return " + ".join(clip.labels) or "none"
