"""Explain why a model predicts a class for a recording: relevance over time and frequency, with plots and players.

    python scripts/explain.py --model runs/cnn_folder song.wav                     writes ./explanations/song.wav/
    python scripts/explain.py --model someone/ast-irmas recordings/ --target violin --num_windows 1
    python scripts/explain.py --model MIT/ast-finetuned-audioset-10-10-0.4593 dog.wav --methods rollout occlusion

Writes for each recording: index.html with plots that play the sound, report.json, explanation.png and .svg, and the
relevant parts as WAV. Each method is checked, and marked if it is not faithful: see docs/explaining.md.
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
    from hf_audio.explaining.explain_files import explain_files
    from hf_audio.explaining.methods import MethodSettings
    from hf_audio.explaining.results import PAGE
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
    add("recordings", nargs="+", metavar="FILE_OR_FOLDER", help="Recordings, or folders of recordings.")
    add("--model", required=True, help="Run folder, or Hub name.")
    add("--target", metavar="CLASS", help="Class to explain. Default: the one with the highest score.")
    add(
        "--methods",
        nargs="+",
        metavar="METHOD",
        help="Methods, see docs/explaining.md. Default: all that fit the model.",
    )
    add("--num_windows", type=int, default=3, help="Windows per recording, those with the highest score [%(default)s].")
    add("--window_s", type=float, help="Length of a window in seconds. Default: the model's.")
    add("--hop_s", type=float, help="Seconds between windows. Default: the model's, or --window_s if given.")
    add("--baseline", help="Baseline input: quiet or mean. Default: quiet; mean for vectors.")
    add("--gradient_steps", type=int, default=32, help="Steps of integrated gradients [%(default)s].")
    add("--occlusion_s", type=float, help="Width of an occluded patch in seconds. Default: 1/20 of the window.")
    add("--occlusion_bands", type=int, help="Height of an occluded patch in bands. Default: 1/8 of all.")
    add(
        "--skip_checks",
        action="store_true",
        help="Skip deletion curves and randomized weights, which take most of the time.",
    )
    add(
        "--output_dir",
        default="explanations",
        help="Folder for the results, one subfolder per recording [%(default)s].",
    )
    add("--seed", type=int, default=0, help="Random seed [%(default)s].")
    add("--device", help="cpu, cuda, cuda:1 and so on. Default: the GPU if there is one.")
    add("--revision", help="Branch, tag or commit of the model on the Hub.")
    add("--token", help="Hub token. Default: HF_TOKEN, or that of hf auth login.")
    return found


if __name__ == "__main__":
    with clear_errors():
        sys.exit(main())
