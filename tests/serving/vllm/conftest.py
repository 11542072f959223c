"""vLLM's scheduler with our class in it, on a real configuration."""

import pytest
from vllm_steps import LATENCY, SLOTS


@pytest.fixture
def make_scheduler(monkeypatch, model_folder):
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
    from vllm.v1.structured_output import StructuredOutputManager

    from serving.vllm_scheduler import SlotwiseScheduler

    def make(
        policy_name="slotwise",
        *,
        policy=None,
        blocks=200,
        caching=False,
        mode="active",
        rank=0,
        trained=True,
        **engine,
    ):
        import torch

        monkeypatch.setenv("SLOTWISE_POLICY", policy_name)
        monkeypatch.setenv("SLOTWISE_MODE", mode)
        # A machine that is busy with other things is no fault of a policy.
        monkeypatch.setenv("SLOTWISE_TIME_BOX_MS", "10000")
        arguments = {
            "model": str(model_folder),
            "max_num_seqs": SLOTS,
            "max_model_len": 512,
            "max_num_batched_tokens": 128,
            "enable_prefix_caching": caching,
            "enforce_eager": True,
            "async_scheduling": True,
        }
        config = EngineArgs(**{**arguments, **engine}).create_engine_config()
        config.cache_config.num_gpu_blocks = blocks
        # As vLLM tells an engine of a server with several.
        config.parallel_config.data_parallel_index = rank
        spec = FullAttentionSpec(block_size=16, num_kv_heads=1, head_size=16, dtype=torch.bfloat16)
        scheduler = SlotwiseScheduler(
            vllm_config=config,
            kv_cache_config=KVCacheConfig(
                num_blocks=blocks,
                kv_cache_tensors=[],
                kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)],
            ),
            structured_output_manager=StructuredOutputManager(config),
            block_size=16,
        )
        if mode != "off" and trained:
            scheduler.driver._refit.latest = LATENCY
        if policy is not None:
            scheduler.driver.policy = policy
        return scheduler

    return make
