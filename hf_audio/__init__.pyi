"""The public names of hf_audio, and where each is defined: read by editors and type checkers, and by `__init__.py`."""

from .analysis.clip_table import clip_table as clip_table
from .analysis.data_figures import draw_features as draw_features, plot_windows as plot_windows
from .analysis.evaluation import evaluate_model as evaluate_model
from .analysis.report import read_report as read_report
from .audit.findings import audit_clips as audit_clips
from .audit.page import audit_corpus as audit_corpus
from .augment import augmentation_for as augmentation_for
from .classical_models import train_pipeline as train_pipeline
from .config import (
    CorpusConfig as CorpusConfig,
    DataConfig as DataConfig,
    FeatureConfig as FeatureConfig,
    MixingConfig as MixingConfig,
    ShareConfig as ShareConfig,
)
from .data.building.build import build_features as build_features
from .data.index.labels import LabelSpace as LabelSpace
from .data.index.mixtures import mix_clips as mix_clips
from .data.index.table import Clip as Clip
from .data.loading.clip_labels import read_clip_labels as read_clip_labels
from .data.loading.feature_collator import FeatureCollator as FeatureCollator
from .data.loading.feature_table import features_to_csv as features_to_csv
from .data.loading.features_dataset import FeatureDataset as FeatureDataset, load_features as load_features
from .data.loading.training_share import share_of_training as share_of_training
from .data.recordings.mixing import write_mixtures as write_mixtures
from .data.splits.assigning import assign_splits as assign_splits
from .errors import InputError as InputError, clear_errors as clear_errors
from .explaining.explain_sound import explain as explain
from .extractors.classical import ClassicalFeatureExtractor as ClassicalFeatureExtractor
from .extractors.fbank import FbankFeatureExtractor as FbankFeatureExtractor
from .extractors.spectrogram import SpectrogramFeatureExtractor as SpectrogramFeatureExtractor
from .judging.evaluating import evaluate as evaluate
from .kinds._kaldi_fbank import KaldiFbank as KaldiFbank
from .kinds._spectrogram_settings import Spectrogram as Spectrogram
from .kinds.classical import ClassicalFeatures as ClassicalFeatures
from .kinds.waveform import Waveform as Waveform
from .label_quality.agreement import label_agreement as label_agreement
from .label_quality.clusters import subdivide_label as subdivide_label
from .label_quality.embedding_map import write_embedding_map as write_embedding_map
from .label_quality.errors import find_label_errors as find_label_errors
from .label_quality.override_comparison import compare_overrides as compare_overrides
from .label_quality.page import write_label_errors as write_label_errors
from .leakage.report import leak_report as leak_report
from .models import build_model as build_model
from .models.spectrogram_pretraining import pretraining_model as pretraining_model
from .parsing import make_recipe as make_recipe, parse_recipe as parse_recipe, parse_settings as parse_settings
from .predictor import Predictor as Predictor
from .preparation import (
    build_corpus_features as build_corpus_features,
    corpus_clips as corpus_clips,
    window_extractor as window_extractor,
)
from .publishing.corpus import share_corpus as share_corpus
from .publishing.dataset_card import write_dataset_card as write_dataset_card
from .publishing.model_card import write_model_card as write_model_card
from .publishing.push import push_features as push_features, push_model as push_model
from .publishing.recordings import share_recordings as share_recordings
from .stages import (
    evaluate_run as evaluate_run,
    prepare_features as prepare_features,
    prepare_model as prepare_model,
    pretrain_model as pretrain_model,
    publish_pretrained as publish_pretrained,
    publish_run as publish_run,
    train_classical as train_classical,
    train_model as train_model,
)
from .tagging.loading import load as load
from .tagging.notebook import player as player
from .training import (
    AudioTrainer as AudioTrainer,
    Classification as Classification,
    PatchDropout as PatchDropout,
    Pretraining as Pretraining,
)
from .workflows import run_classical as run_classical, run_network as run_network, run_pretraining as run_pretraining

__version__: str
