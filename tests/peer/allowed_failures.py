"""What of transformers' common tests may fail, and why; nothing else may.

A test of the first list that passes for transformers' own class, and one of the second that passes at all, is an error:
the list is then to be shortened.
"""

# Fails for transformers' own ASTForAudioClassification too, whose test module replaces it.
OF_STOCK: dict[str, str] = {
    "test_model_get_set_embeddings": "asks for an nn.Embedding: sound is no table of tokens",
}
TIMM = ("timm_efficientnet", "timm_vit", "timm_parallel")
OWN_CHECKPOINTING = "timm checkpoints inside of its networks, without a GradientCheckpointingLayer, as for TimmWrapper"
# Of single classes of ours: (test, cases of model_cases.py): reason.
ALLOWED: dict[tuple[str, tuple[str, ...]], str] = {
    ("test_gradient_checkpointing_enable_disable", TIMM): OWN_CHECKPOINTING,
    ("test_training_gradient_checkpointing", TIMM): OWN_CHECKPOINTING,
    ("test_can_init_all_missing_weights", TIMM): (
        "compares the random numbers of two ways to make a network, and timm draws its own: the test spares weights of "
        "TimmWrapper by its name"
    ),
    ("test_num_layers_is_small", TIMM): "timm's smallest networks have more than two stages",
}
