"""Wrap a model's directory as an MLflow model from code: safetensors, JSON, the modules that read
them, and no pickle.
"""

from __future__ import annotations

import base64
import io
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.adapters.dvc.code_dependencies import import_closure
from stages.core.io import read_json, write_text
from stages.core.plugins import ROOT

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

SERVING = Path(__file__).parents[1] / "serving"
SERVED = {"classifier": SERVING / "pyfunc_model.py", "encoder": SERVING / "pyfunc_encoder.py"}
PACKAGES = (
    "mlflow",
    "torch",
    "torchvision",
    "timm",
    "safetensors",
    "numpy",
    "pandas",
    "pillow",
    "pydantic",
)
DOCUMENTS = "documents"


def package(
    directory: Path, target: Path, model_id: str, run: str, documents: Mapping[str, str]
) -> None:
    """Write the MLflow model to ``target``: artifact, serving code with what it imports, signature,
    example, pins.

    Args:
        documents: file name → text; written below ``documents/`` inside the model.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    config = read_json(directory / "config.json")
    with tempfile.TemporaryDirectory() as folder, _without_links(directory) as artifact:
        mlflow.pyfunc.save_model(
            target,
            python_model=str(SERVED[config["kind"]]),
            artifacts={"model": str(artifact)},
            code_paths=[str(_code(Path(folder)))],
            signature=_signature(config),
            input_example=example(directory),
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in PACKAGES],
            metadata={"preprocess": read_json(directory / "preprocess.json")},
            mlflow_model=Model(run_id=run, model_id=model_id),
        )
    for name, text in documents.items():
        write_text(target / DOCUMENTS / name, text)
    for cache in list(target.rglob("__pycache__")):
        shutil.rmtree(cache)


@contextmanager
def _without_links(directory: Path) -> Iterator[Path]:
    """Yield a folder of this name that holds real files: MLflow refuses links that lead out of it,
    as DVC makes them.
    """
    if not any(path.is_symlink() for path in (directory, *directory.rglob("*"))):
        yield directory
        return
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / directory.name
        shutil.copytree(directory, copied)
        yield copied


def _signature(config: Mapping[str, Any]) -> ModelSignature:
    """Images in, two ways; label and probabilities out, or a vector of features."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Schema

    image = ColSpec(DataType.string, "image", required=False)
    pixels = ColSpec(
        AnyType(), "pixels", required=False
    )  # nested lists or arrays; the model checks type and shape
    if config["kind"] == "encoder":
        answer = [ColSpec(Array(DataType.double), "features")]
    else:
        known = [ColSpec(DataType.string, "label"), ColSpec(DataType.double, "probability")]
        answer = [*known, *(ColSpec(DataType.double, f"p.{name}") for name in config["classes"])]
    return ModelSignature(inputs=Schema([image, pixels]), outputs=Schema(answer))


def example(directory: Path) -> dict[str, list[str]]:
    """One grey image of the model's own size, as a client would send it."""
    from PIL import Image

    preprocess = read_json(directory / "preprocess.json")
    buffer = io.BytesIO()
    mode, colour = ("L", 128) if preprocess["channels"] == 1 else ("RGB", (128, 128, 128))
    Image.new(mode, (preprocess["size"], preprocess["size"]), colour).save(buffer, "PNG")
    return {"image": [base64.b64encode(buffer.getvalue()).decode()]}


def _code(folder: Path) -> Path:
    """A copy of the modules of ``stages`` that serving needs, as they are now."""
    for module in import_closure([ROOT / "stages/core/models/inference.py"], ROOT):
        target = folder / module.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module, target)
    return folder / "stages"
