import torch

from stages.core import compute


def test_auto_precision_follows_the_processor_and_is_recorded():
    facts = compute.describe("auto")
    assert facts["precision"] == ("bf16" if facts["bf16_in_hardware"] == "true" else "fp32")
    assert compute.describe("fp32")["precision"] == "fp32"
    assert facts["torch"] == torch.__version__


def test_autocast_changes_the_type_of_products_only_when_asked():
    a = torch.ones(4, 4, device=compute.device())
    with compute.autocast("fp32"):
        assert (a @ a).dtype == torch.float32
    with compute.autocast("bf16"):
        assert (a @ a).dtype == torch.bfloat16
