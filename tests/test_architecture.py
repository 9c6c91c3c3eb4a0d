"""The rule of imports: a package imports only packages of levels to its left, and none of its own level."""

from __future__ import annotations

import ast
import functools
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import hf_audio

ROOT = Path(__file__).parents[1]
LEVELS = (
    {
        *("errors", "files", "finished_work", "locks", "privacy", "terminal", "config", "environment", "extractors"),
        *("ranks", "starter", "flags", "limits", "windows", "gray_images", "markdown", "hub_access", "hub_licenses"),
        "html_parts",
    },
    {"kinds"},
    {"data", "metrics"},
    {"augment", "models", "corpora", "predictions"},
    {"sound_predictor", "losses", "stored_scores"},
    {"predictor", "tagging"},
    {"training", "preparation", "figures", "baselines", "copies", "serving"},
    {"analysis", "publishing", "classical_models", "audit", "leakage", "label_quality"},
    {"judging", "explaining"},
    {"recipe_repos"},
    {"recipe_features", "recipe_model", "run_config", "settings_parser", "stage_lines"},
    {"parsing", "stages"},
    {"workflows", "repeated_runs", "repeated_folds"},
    {"searching"},
    {"commands"},
)
# The same for the packages in data/.
DATA_LEVELS = ("tables", "index", "recordings", "splits", "feature_format", "foreign", "building", "sharing", "loading")
LEVEL_OF = {name: level for level, names in enumerate(LEVELS) for name in names}
# Libraries that have an extra or are slow to import: one module imports each, inside the function that needs it.
OPTIONAL_LIBRARIES = {
    "av",
    "peft",
    "symusic",
    "umap",
    "pretty_midi",
    "mirdata",
    "pooch",
    "timm",
    "librosa",
    "optuna",
    "captum",
    "cmaes",
    "gradio",
    "cleanlab",
    "skops",
    "sounddevice",
}
# Our modules that import a library when they are imported, so they too are imported inside functions.
BEHIND = {"compiled_librosa": "librosa"}
SHADOWING = {"evaluate.py", "ast.py", "timm.py", "datasets.py", "datasets", "peft.py", "torch.py", "logging.py"}


@functools.cache
def modules() -> list[Path]:
    """The package without handlers/, which is only published with models and runs without hf_audio."""
    return sorted(path for path in (ROOT / "hf_audio").rglob("*.py") if path.parent.name != "handlers")


def walk_modules_with(words: set[str]) -> Iterator[tuple[Path, ast.AST]]:
    """Every node of the modules whose text has one of the words. Parsing all modules would take a second."""
    for path in modules():
        text = path.read_text(encoding="utf-8")
        if any(word in text for word in words):
            yield from ((path, node) for node in ast.walk(ast.parse(text)))


@functools.cache
def imports(path: Path) -> list[tuple[str, int, bool]]:
    """(module, line, whether inside a function) of every import but those for type checking, which do not run."""
    found = []

    def walk(node: ast.AST, inside: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                found.extend((alias.name, child.lineno, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0 or path.parent.name in ("models", "extractors"), (
                    f"{path}:{child.lineno} has a relative import"
                )
                found.append((child.module or "", child.lineno, inside))
            walk(child, inside or isinstance(child, ast.FunctionDef))

    walk(ast.parse(path.read_text(encoding="utf-8")), False)
    return found


def test_packages_import_only_from_the_left():
    wrong = []
    for path in modules():
        own = path.relative_to(ROOT / "hf_audio").parts[0].removesuffix(".py")
        assert own in LEVEL_OF or own == "__init__", f"hf_audio/{own} has no level: add it to LEVELS"
        others = [(module.split(".")[1], line) for module, line, _ in imports(path) if module.startswith("hf_audio.")]
        wrong += [
            f"{path.relative_to(ROOT)}:{line} imports {other}, which is not to the left of {own}"
            for other, line in others
            if own not in ("__init__", other) and LEVEL_OF[own] > 0 and LEVEL_OF[other] >= LEVEL_OF[own]
        ]
    assert wrong == []


def test_packages_of_data_import_only_from_the_left():
    for path in (ROOT / "hf_audio/data").rglob("*.py"):
        own = path.relative_to(ROOT / "hf_audio/data").parts[0].removesuffix(".py")
        for module, line, _ in imports(path):
            if module.startswith("hf_audio.data."):
                other = module.split(".")[2]
                assert other == own or DATA_LEVELS.index(other) < DATA_LEVELS.index(own), (
                    f"{path.relative_to(ROOT)}:{line} imports {module}, which is not to the left of data/{own}"
                )


def test_optional_libraries_are_imported_inside_functions():
    at_the_top = [
        f"{path.relative_to(ROOT)}:{line} imports {module} at the top"
        for path in modules()
        for module, line, inside in imports(path)
        if module.split(".")[0] in OPTIONAL_LIBRARIES - {BEHIND.get(path.stem)} or module.split(".")[-1] in BEHIND
        if not inside
    ]
    assert at_the_top == []


# Packages that import optional libraries: other packages import them only inside functions.
OF_PACKAGES = {"serving": {"fastapi", "starlette", "pydantic", "uvicorn", "prometheus_client"}}


def test_a_package_of_optional_libraries_is_imported_inside_functions():
    wrong = []
    for path in modules():
        own = path.relative_to(ROOT / "hf_audio").parts[0]
        for (module, line, inside), (package, libraries) in itertools.product(imports(path), OF_PACKAGES.items()):
            is_theirs, is_it = module.split(".")[0] in libraries, module.startswith(f"hf_audio.{package}")
            if own != package and (is_theirs or (is_it and not inside)):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}: inside a function of {package} only")
    assert wrong == []


def test_one_module_imports_an_optional_library():
    homes: dict[str, set[str]] = {}
    for path in modules():
        for module, _, _ in imports(path):
            if module.split(".")[0] in OPTIONAL_LIBRARIES:
                homes.setdefault(module.split(".")[0], set()).add(str(path.relative_to(ROOT)))
    assert {library: sorted(where) for library, where in homes.items() if len(where) > 1} == {}


def test_librosa_is_imported_only_through_compiled_librosa():
    direct = re.compile(r"^\s*(import|from) librosa\b", re.MULTILINE)
    files = [path for folder in ("tests", "scripts", "recipes") for path in (ROOT / folder).glob("*.py")]
    assert [path.name for path in files if direct.search(path.read_text())] == []


def test_only_terminal_py_prints_and_creates_loggers():
    raw = re.compile(r"logging\.getLogger\(|import tqdm$|(?<![\w.])print\(", re.MULTILINE)
    own = {"terminal.py", "errors.py"}
    files = [path for path in modules() if path.name not in own and path.parent.name not in ("models", "extractors")]
    assert [path.name for path in files if raw.search(path.read_text())] == []


def test_module_names_are_specific():
    names = {path.name for path in (ROOT / "hf_audio").rglob("*")}
    assert not names & {"utils.py", "helpers.py", "common.py", "misc.py"}
    assert not {path.name for folder in ("recipes", "scripts") for path in (ROOT / folder).iterdir()} & SHADOWING


def test_recipes_are_short_and_have_no_loops():
    for path in (ROOT / "recipes").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 60, f"{path.name} is longer than 60 lines"
        logic = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.For | ast.While)]
        assert not logic, f"{path.name} has a loop: loops belong in the package"


# The modules that load and save trained models, a run's checkpoints and adapters.
DOORS = {
    "from_pretrained": {"models/foreign_checkpoint.py", "training/run_folder.py"},
    "save_pretrained": {"models/saving.py", "models/lora.py"},
    "from_json_file": set(),
    "from_dict": set(),
}


def test_models_and_extractors_are_loaded_and_saved_only_in_the_doors():
    found: dict[str, set[str]] = {name: set() for name in DOORS}
    for path, node in walk_modules_with(set(DOORS)):
        if isinstance(node, ast.Attribute) and node.attr in DOORS:
            found[node.attr].add(str(path.relative_to(ROOT / "hf_audio")))
    assert found == DOORS


def test_nothing_is_loaded_with_remote_code():
    loaders = {"from_config", "from_pretrained"}
    for path, node in walk_modules_with(loaders):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in loaders:
            trust = [one.value for one in node.keywords if one.arg == "trust_remote_code"]
            is_auto = "Auto" in ast.dump(node.func.value)
            assert all(isinstance(one, ast.Constant) and one.value is False for one in trust), f"{path}"
            assert trust or not is_auto, f"{path}:{node.lineno} loads by an Auto class without trust_remote_code=False"


def test_imported_names_of_the_project_exist():
    """Including imports inside functions, which otherwise fail only when called."""
    missing, outside = [], [path for folder in ("scripts", "recipes", "tests") for path in (ROOT / folder).glob("*.py")]
    for path in [*modules(), *outside]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "hf_audio":
                names = {alias.name for alias in node.names} - names_in(node.module)
                missing += [f"{path.relative_to(ROOT)}: {node.module}.{name}" for name in names]
    assert missing == []


@functools.cache
def names_in(module: str) -> frozenset[str]:
    """What can be imported from a module of the project: its names, its imports, and its submodules."""
    place = ROOT.joinpath(*module.split("."))
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if not path.is_file():
        return frozenset()
    below = {one.stem for one in place.iterdir()} if place.is_dir() else set()
    if module == "hf_audio":
        return frozenset({*below, *hf_audio.__all__, "__version__"})
    found = set(below)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return frozenset(found)
