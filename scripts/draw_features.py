"""Plot a feature dataset: classes, lengths, co-occurrence, windows with and without masks, clusters, variance.

    python scripts/draw_features.py feature_sets/mine                        writes ./mine-plots
    python scripts/draw_features.py USER/irmas-fbank --output_dir plots --projections pca tsne umap
    python scripts/draw_features.py feature_sets/mine --model runs/cnn_folder         that model's embeddings
    python scripts/draw_features.py feature_sets/mine --beside feature_sets/irmas USER/openmic-fbank
    python scripts/draw_features.py feature_sets/mine --time_mask_s 0.3 --frequency_mask_bins 24 --mixup_alpha 1

README.md in the output folder shows all plots. For classical features, variances.csv has the variance of each feature
and its share between classes. With --model, vectors.tsv and metadata.tsv are written for TensorBoard's projector
(https://projector.tensorflow.org, "Load"). UMAP needs pip install "hf_audio[figures]".
"""

import argparse

import hf_audio
from hf_audio.config import AugmentConfig
from hf_audio.kinds import Form
from hf_audio.terminal import show


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", help="Feature dataset: a folder or a Hub name.")
    parser.add_argument("--output_dir", help="Folder for the plots. Default: ./NAME-plots.")
    parser.add_argument(
        "--projections", nargs="*", default=["pca", "tsne"], help="Projections: pca, tsne, umap [pca tsne]."
    )
    parser.add_argument("--model", help="Project the embeddings of this network: a run folder or a Hub name.")
    parser.add_argument("--beside", nargs="+", default=[], help="Other feature datasets to compare classes with.")
    parser.add_argument("--time_mask_s", type=float, default=0.2, help="Maximum time mask in seconds [%(default)s].")
    parser.add_argument(
        "--frequency_mask_bins", type=int, default=16, help="Maximum frequency mask in mel bins [%(default)s]."
    )
    parser.add_argument("--mixup_alpha", type=float, default=0.0, help="Alpha of mixup; 0 is off.")
    parser.add_argument("--seed", type=int, default=0, help="Random seed [%(default)s].")
    options = parser.parse_args()
    features = hf_audio.load_features(options.features)
    augment = None
    if features.kind.form is Form.IMAGE:
        masks = {name: getattr(options, name) for name in ("time_mask_s", "frequency_mask_bins", "mixup_alpha")}
        augment = hf_audio.augmentation_for(AugmentConfig(**masks), features.extractor)
    page = hf_audio.draw_features(
        features,
        options.output_dir or f"{features.name}-plots",
        projections=options.projections,
        model=options.model,
        augment=augment,
        beside=[hf_audio.load_features(name) for name in options.beside],
        seed=options.seed,
    )
    show(page)


if __name__ == "__main__":
    with hf_audio.clear_errors():
        main()
