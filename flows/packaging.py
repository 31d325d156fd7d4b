"""Wrap a classifier's directory as an MLflow model from code: safetensors, JSON, the modules that read them, and no pickle."""

from __future__ import annotations

import base64
import io
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

from flows.graph import import_closure
from stages.core.io import read_json
from stages.core.registry import ROOT

SERVED = Path(__file__).with_name("serving.py")
PACKAGES = ("mlflow", "torch", "torchvision", "timm", "safetensors", "numpy", "pandas", "pillow", "pydantic")


def package(directory: Path, target: Path, model_id: str, run: str) -> None:
    """Write the MLflow model to ``target``: artifact, serving code with what it imports, signature, example, pins."""
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, DataType, Schema

    image = ColSpec(DataType.string, "image", required=False)
    pixels = ColSpec(AnyType(), "pixels", required=False)  # nested lists or arrays; the model checks type and shape
    classes = read_json(directory / "config.json")["classes"]
    answer = [ColSpec(DataType.string, "label"), ColSpec(DataType.double, "probability")]
    signature = ModelSignature(
        inputs=Schema([image, pixels]),
        outputs=Schema([*answer, *(ColSpec(DataType.double, f"p.{name}") for name in classes)]),
    )
    with tempfile.TemporaryDirectory() as folder:
        mlflow.pyfunc.save_model(
            target,
            python_model=str(SERVED),
            artifacts={"model": str(directory)},
            code_paths=[str(_code(Path(folder)))],
            signature=signature,
            input_example=example(directory),
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in PACKAGES],
            mlflow_model=Model(run_id=run, model_id=model_id),
        )
    for cache in list(target.rglob("__pycache__")):
        shutil.rmtree(cache)


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
    for module in import_closure([ROOT / "stages/core/serving.py"], ROOT):
        target = folder / module.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module, target)
    return folder / "stages"
