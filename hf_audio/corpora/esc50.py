"""ESC-50: environmental sounds, 2,000 clips of 5 s in 50 classes, five official folds.

The index comes from the layout on disk, whole or partial:

    ROOT/**/meta/esc50.csv                filename, fold, target, category, esc10, src_file, take
    ROOT/**/audio/1-100032-A-0.wav        fold, Freesound id, take and number of the class

Folds become splits named fold1 to fold5: choose the one to test on with --fold. Clips of the same Freesound recording
are one group, and in the same fold.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.corpora._files import files_below
from hf_audio.corpora._source import Archive, Archives
from hf_audio.data.index.columns import with_values
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.data.tables import Row, read_table
from hf_audio.errors import InputError, unknown_name
from hf_audio.terminal import named_logger

CATEGORIES = (
    "dog", "rooster", "pig", "cow", "frog", "cat", "hen", "insects", "sheep", "crow",
    "rain", "sea_waves", "crackling_fire", "crickets", "chirping_birds",
    "water_drops", "wind", "pouring_water", "toilet_flush", "thunderstorm",
    "crying_baby", "sneezing", "clapping", "breathing", "coughing",
    "footsteps", "laughing", "brushing_teeth", "snoring", "drinking_sipping",
    "door_wood_knock", "mouse_click", "keyboard_typing", "door_wood_creaks", "can_opening",
    "washing_machine", "vacuum_cleaner", "clock_alarm", "clock_tick", "glass_breaking",
    "helicopter", "chainsaw", "siren", "car_horn", "engine",
    "train", "church_bells", "airplane", "fireworks", "hand_saw",
)  # fmt: skip
# the five major categories of the corpus, ten classes each
CLASS_FAMILIES = {
    name: CATEGORIES[10 * place : 10 * place + 10]
    for place, name in enumerate(("animals", "natural soundscapes", "human", "interior", "exterior"))
}

CARD = CorpusCard(
    name="ESC-50",
    license="CC BY-NC 3.0",  # clips of its subset ESC-10, marked in the metadata, are CC BY
    may_redistribute=True,
    citation=(
        "K. J. Piczak: ESC: Dataset for Environmental Sound Classification. Proc. 23rd ACM International Conference on "
        "Multimedia, 2015, pp. 1015-1018."
    ),
    homepage="https://github.com/karolpiczak/ESC-50",
    protocol="ESC-50: five official folds, tested on each in turn; mean accuracy over the folds.",
    problem_type="single_label_classification",
    label_names=CATEGORIES,
)
FILE_NAME = r"(?:^|/)(?P<fold>[1-5])-(?P<source>\d+)-[A-Z]-\d+\.\w+$"
# The author publishes no checksum. This is the one of GitHub's archive of the last commit, as noted by several people
# who downloaded it. GitHub guarantees that the files stay the same, but not every byte of the archive.
COMMIT = "33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6"
SOURCE = Archives(
    {
        "all": (
            Archive(
                f"{CARD.homepage}/archive/{COMMIT}.zip", "ESC-50-master", 645_832_161, 0.9e9,
                "sha256:661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f",
            ),
        )
    }
)  # fmt: skip

logger = named_logger(__name__)


def index(root: Path) -> pa.Table:
    """Clips listed in the table whose files exist; `split` is the name of the fold.

    Raises:
        InputError: `root` has no table or none of its files, or the table is not ESC-50's.
    """
    root = Path(root)
    table = min(files_below(root, "meta/esc50.csv"), default=None)
    if table is None:
        raise InputError(
            f"{root} does not contain ESC-50; expected meta/esc50.csv and audio/1-100032-A-0.wav below it "
            f"(unpack {CARD.homepage}/archive/{COMMIT}.zip there)"
        )
    _, rows = read_table(table, required=("filename", "fold", "category", "src_file"))
    folder = table.parents[1] / "audio"
    clips = [_clip(table, line, row) for line, row in rows if (folder / row["filename"]).is_file()]
    if not clips:
        raise InputError(f"{table} lists {len(rows)} clips but {folder} has none of them; unpack all of ESC-50 again")
    if len(clips) < len(rows):
        logger.warning("This copy of ESC-50 is partial: it has %d of %d clips", len(clips), len(rows))
    return index_of(clips)


def of_dataset(clips: pa.Table) -> pa.Table:
    """Clips of a copy on the Hub, with folds and recordings taken from the file names.

    Raises:
        InputError: the name of a clip is not that of an ESC-50 file.
    """
    parts = pc.extract_regex(clips["clip_id"], FILE_NAME)
    if parts.null_count:
        odd = clips["clip_id"].filter(pc.is_null(parts))[0].as_py()
        raise InputError(
            f"Clip {odd!r} of this dataset is not named like a file of ESC-50 (1-100032-A-0.wav): add --corpus folder "
            "to read it like any other dataset"
        )
    fold, source = pc.struct_field(parts, "fold"), pc.struct_field(parts, "source")
    clips = with_values(clips, "split", pc.binary_join_element_wise("fold", fold, ""))
    return with_values(clips, "group", source)


def obtain(root: Path) -> None:
    """Downloads ESC-50 (0.6 GB) and unpacks it."""
    SOURCE.obtain(root, CARD)


def _clip(table: Path, line: int, row: Row) -> Clip:
    if row["category"] not in CATEGORIES:
        raise unknown_name(f"category in {table} line {line}", row["category"], CATEGORIES)
    return Clip(
        path=str(table.parents[1] / "audio" / row["filename"]),
        labels=(row["category"],),
        group=row["src_file"],
        clip_id=f"audio/{row['filename']}",
        split=f"fold{row['fold']}",
        metadata={"esc10": "yes" if row.get("esc10", "").lower() == "true" else "no"},
    )
