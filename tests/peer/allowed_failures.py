"""The tests of transformers' common tests that may fail, with reasons; no others may.

It is an error if a test in the first list succeeds for transformers' own class, or one in the second list succeeds at
all: then the list must be shortened.
"""

# Also fails for transformers' own ASTForAudioClassification, whose test module overrides it.
OF_STOCK: dict[str, str] = {
    "test_model_get_set_embeddings": "expects an nn.Embedding, but audio has no token embeddings",
}
TIMM = ("timm_efficientnet", "timm_vit", "timm_parallel")
OWN_CHECKPOINTING = "timm checkpoints inside its networks, without a GradientCheckpointingLayer, as for TimmWrapper"
# For single classes of ours: (test, cases of model_cases.py): reason.
ALLOWED: dict[tuple[str, tuple[str, ...]], str] = {
    ("test_gradient_checkpointing_enable_disable", TIMM): OWN_CHECKPOINTING,
    ("test_training_gradient_checkpointing", TIMM): OWN_CHECKPOINTING,
    ("test_can_init_all_missing_weights", TIMM): (
        "compares the random numbers of two ways to make a network, and timm draws its own: the test exempts weights "
        "of TimmWrapper by name"
    ),
    ("test_num_layers_is_small", TIMM): "timm's smallest networks have more than two stages",
}
