"""What parameters and images rule out is refused before the first stage, not after hours of
training.
"""

from __future__ import annotations

import yaml

from benchmarks.support.checkout import Project

LARGE_STUDENT = ("--set", "distill.backbone=resnet18")
SIZE = ("--set", "ingest.store_size=16", "--set", "ingest.channels=1")


def test_a_student_too_large_is_refused_before_anything_runs_where_the_size_is_given(
    project: Project,
) -> None:
    said = project.rootstock("run", *SIZE, *LARGE_STUDENT, code=2)
    line = said.strip().splitlines()[-1]
    assert (
        line.startswith("rootstock: params.yaml: distill.backbone resnet18 has")
        and "at most half" in line
    )
    assert not (project.root / "dvc.lock").exists() and not (project.root / "data").exists()
    network = (
        "--set",
        "distill.backbone=test_efficientnet",
        "--set",
        "pretrain.backbone=torchvision:inception_v3",
    )
    said = project.rootstock("run", *network, code=2)
    assert "pretrain.backbone: torchvision:inception_v3 cannot" in said and "Traceback" not in said
    assert not (project.root / "dvc.lock").exists()


def test_the_size_found_in_the_images_is_enough_to_refuse_before_the_next_stage(
    project: Project,
) -> None:
    said = project.rootstock("run", *LARGE_STUDENT, code=2)
    assert "at most half" in said and "validate  │ starts" not in said
    assert list(yaml.safe_load((project.root / "dvc.lock").read_text())["stages"]) == ["ingest"]
    again = project.rootstock("run", code=2)
    assert "at most half" in again and "starts" not in again
    parts = ("--set", "pretrain.accumulate=1000", "--set", "distill.backbone=test_efficientnet")
    assert "cannot be split into 1000 parts" in project.rootstock("run", *parts, code=2)


def test_a_tag_of_pretrained_weights_is_refused(project: Project) -> None:
    for key in ("pretrain", "distill"):
        said = project.rootstock(
            "run", "--set", f"{key}.backbone=vit_tiny_patch16_224.augreg_in21k_ft_in1k", code=2
        )
        assert (
            f"{key}.backbone: vit_tiny_patch16_224.augreg_in21k_ft_in1k" in said
            and "pretrain.start" in said
        )
    assert not (project.root / "dvc.lock").exists()
