"""Why a trained model hears a class in a recording: relevance over time and frequency, to look at and to listen to.

    python scripts/explain.py --model runs/cnn_folder song.wav                     into ./explanations/song.wav/
    python scripts/explain.py --model someone/ast-irmas recordings/ --target violin --num_windows 1
    python scripts/explain.py --model MIT/ast-finetuned-audioset-10-10-0.4593 dog.wav --methods rollout occlusion

Of each recording: index.html with plots that play, report.json, explanation.png and .svg, and what is relevant as WAV.
Each method is checked, and said to say nothing where it does not: see docs/explaining.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hf_audio.errors import clear_errors
from hf_audio.terminal import named_logger, show

logger = named_logger(__name__)


def main() -> int:
    options = parser().parse_args()

    from hf_audio.explaining.chosen_windows import place_of
    from hf_audio.explaining.methods import MethodSettings
    from hf_audio.explaining.results import PAGE, explain_files
    from hf_audio.explaining.settings import ExplainSettings
    from hf_audio.tagging.found_files import found_files
    from hf_audio.tagging.loading import load

    settings = ExplainSettings(
        target=options.target,
        methods=None if options.methods is None else tuple(options.methods),
        num_windows=options.num_windows,
        window_s=options.window_s,
        hop_s=options.hop_s,
        baseline=options.baseline,
        of_methods=MethodSettings(options.gradient_steps, options.occlusion_s, options.occlusion_bands),
        has_checks=not options.skip_checks,
        seed=options.seed,
    )
    files, folder = found_files(options.recordings), Path(options.output_dir)
    tagger = load(options.model, device=options.device, token=options.token, revision=options.revision)
    if settings.target is not None:
        place_of(tagger, settings.target)
    num_failed = explain_files(tagger, files, folder, settings)
    if num_failed < len(files):
        show(folder / PAGE if len(files) > 1 else folder / files[0].name / PAGE)
    if num_failed:
        logger.warning("%d of %d recordings could not be explained", num_failed, len(files))
    return int(num_failed > 0)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = found.add_argument
    add("recordings", nargs="+", metavar="FILE_OR_FOLDER", help="recordings, or folders that hold some")
    add("--model", required=True, help="a run folder, or a model's name on the Hub")
    add("--target", metavar="CLASS", help="the class to explain; default: the one of the recording's highest score")
    add(
        "--methods", nargs="+", metavar="METHOD", help="default: all that suit the model; docs/explaining.md lists them"
    )
    add("--num_windows", type=int, default=3, help="of a recording, the most certain ones [%(default)s]")
    add("--window_s", type=float, help="seconds of a window; default: as the model was trained")
    add("--hop_s", type=float, help="seconds from one window to the next; default: the model's, or --window_s if given")
    add("--baseline", help="what relevance is compared with: quiet or mean; default: quiet, of vectors mean")
    add("--gradient_steps", type=int, default=32, help="of integrated gradients [%(default)s]")
    add("--occlusion_s", type=float, help="seconds of an occluded patch; default: a 20th of the window")
    add("--occlusion_bands", type=int, help="bands of an occluded patch; default: an eighth of all")
    add("--skip_checks", action="store_true", help="leave out curves and random weights, which take most of the time")
    add("--output_dir", default="explanations", help="a folder for each recording lands there [%(default)s]")
    add("--seed", type=int, default=0, help="of random orders and weights [%(default)s]")
    add("--device", help="cpu, cuda, cuda:1 ...; default: the accelerator where there is one")
    add("--revision", help="a branch, tag or commit of the model")
    add("--token", help="of the Hub, for a private model; default: HF_TOKEN or that of hf auth login")
    return found


if __name__ == "__main__":
    with clear_errors():
        sys.exit(main())
