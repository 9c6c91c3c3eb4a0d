"""Write example mixtures as FLAC files to listen to; the file names say what is in them.

    python scripts/preview_mixtures.py --corpus irmas --data_dir DIR --mix_same genre --mix_match tempo
    python scripts/preview_mixtures.py --corpus irmas --data_dir DIR --preview 50 --preview_dir listen

hf-audio build has the same --mix_ settings.
"""

from dataclasses import dataclass
from pathlib import Path

import hf_audio
from hf_audio.config import setting
from hf_audio.data.index.columns import mixtures_in
from hf_audio.terminal import show

VALUES = {"mix_fraction": 1.0}


@dataclass
class PreviewConfig:
    """Settings of the preview."""

    _argument_group_name = "run"

    preview: int = setting(20, "Number of mixtures to write.")
    preview_dir: str = setting("mixtures", "Folder for the mixtures.")


def main() -> None:
    data, mixing, preview = hf_audio.parse_settings(
        hf_audio.DataConfig, hf_audio.MixingConfig, PreviewConfig, values=VALUES, doc=__doc__
    )
    clips = hf_audio.corpus_clips(data, mixing).clips
    written = hf_audio.write_mixtures(mixtures_in(clips).slice(0, preview.preview), Path(preview.preview_dir))
    show(f"{len(written)} mixtures are in {preview.preview_dir}")


if __name__ == "__main__":
    with hf_audio.clear_errors():
        main()
