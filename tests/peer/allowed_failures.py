"""What of transformers' common tests may fail, and why; nothing else may."""

# Fails, or has to be replaced, for transformers' own ASTForAudioClassification too.
OF_STOCK: dict[str, str] = {}
# Of single classes of ours: (test, cases of model_cases.py): reason.
ALLOWED: dict[tuple[str, tuple[str, ...]], str] = {}
