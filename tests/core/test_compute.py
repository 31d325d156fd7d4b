from pathlib import Path

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

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


def test_a_processor_with_bf16_instructions_is_used_as_one():
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    if compute.device().type != "cpu" or not flags:
        pytest.skip("the processor's own flags are known on Linux, and count without a GPU")
    assert (compute.describe()["bf16_in_hardware"] == "true") == bool(
        {"amx_bf16", "avx512_bf16"} & set(flags)
    )


def test_attention_in_bf16_says_what_it_says_in_fp32_and_leaves_torchs_settings_alone():
    q, k, v = torch.randn(
        3, 2, 4, 33, 16, generator=torch.Generator().manual_seed(0), device="cpu"
    ).to(compute.device())
    exact = scaled_dot_product_attention(q, k, v)
    before = (
        torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed(),
        torch.backends.cuda.flash_sdp_enabled(),
    )
    with compute.autocast("bf16"):
        found = scaled_dot_product_attention(q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, atol=0.02, rtol=0.02)
    assert (
        torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed(),
        torch.backends.cuda.flash_sdp_enabled(),
    ) == before
