"""Classical models of scikit-learn on classical features, alone or together with a network's embedding."""

from hf_audio.classical_models.training import TrainedClassifiers, train_pipeline

__all__ = ["TrainedClassifiers", "train_pipeline"]
