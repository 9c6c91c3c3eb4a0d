"""Draw a map of clips with audio players, which shows overlapping classes, a model's errors, and leakage.

    python scripts/map_embeddings.py feature_sets/mine --data_dir DIR          writes ./mine-map/index.html
    python scripts/map_embeddings.py runs/a/features --model runs/a --scores runs/a --data_dir DIR
    python scripts/map_embeddings.py feature_sets/mine --model MIT/ast-finetuned-audioset-10-10-0.4593 \\
        --projections pca tsne umap --splits train test

The page needs no server or network. Points are colored by class, by correctness (--scores), by group or by split. Click
to play a clip, use the mouse and its wheel to move and zoom, and the boxes to choose classes. Lists beside the map show
clips whose neighbors have another class (wrong labels?), pairs of different groups that sound alike (leakage?), clips
inside another group, and groups that form clusters regardless of class. neighbors.csv has all of them.

Neighbors are computed from the first 50 principal components, not in the plane. t-SNE and UMAP of 20,000 clips take
minutes each; UMAP needs pip install "hf_audio[figures]".
"""

import argparse

import hf_audio
from hf_audio.figures.embedding_map import MAX_POINTS
from hf_audio.terminal import show


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", metavar="FEATURES_DIR", help="Feature dataset: a folder or a Hub name.")
    parser.add_argument("--output_dir", help="Folder for the map. Default: ./NAME-map.")
    parser.add_argument("--model", help="Map the embeddings of this network: a run folder or a Hub name.")
    parser.add_argument(
        "--scores", nargs="+", default=[], help="Color by the scores of these runs (folders, or scores/clips.parquet)."
    )
    parser.add_argument("--data_dir", help="Folder with the recordings, to listen to them on the page.")
    parser.add_argument(
        "--projections", nargs="+", default=["pca", "tsne"], help="Projections: pca, tsne, umap [pca tsne]."
    )
    parser.add_argument("--splits", nargs="+", help="Splits to show. Default: all.")
    parser.add_argument(
        "--clips", type=int, default=MAX_POINTS, help="Maximum number of clips on the map [%(default)s]."
    )
    parser.add_argument("--seed", type=int, default=0, help="Random seed [%(default)s].")
    given = parser.parse_args()
    features = hf_audio.load_features(given.features)
    folder = given.output_dir or f"{features.name}-map"
    found = hf_audio.write_embedding_map(
        features,
        folder,
        model=given.model,
        scores=given.scores,
        data_dir=given.data_dir,
        projections=given.projections,
        splits=given.splits,
        max_clips=given.clips,
        seed=given.seed,
    )
    show(f"{found['shown']} of {found['of']} clips are on the map: {folder}/index.html")
    show(
        f"{found['labels']} clips have neighbors of another class, {found['copies']} pairs may be the same sound, "
        f"{found['groups']} clips are inside another group, {found['clusters']} groups form clusters: "
        f"{folder}/neighbors.csv"
    )


if __name__ == "__main__":
    with hf_audio.clear_errors():
        main()
