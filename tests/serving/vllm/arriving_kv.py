"""A KV connector whose caches arrive when a test says so; vLLM imports it by its module's name."""

from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
)


class ArrivingKv(KVConnectorBase_V1):
    """``kv_transfer_params`` say what a request waits for.

    ``do_remote_prefill``: its prompt's cache is loaded beside the steps. ``lookup``: nobody knows
    yet what there is to load, until its id is in :attr:`known`.
    """

    def __init__(self, vllm_config, role, kv_cache_config):
        super().__init__(vllm_config, role, kv_cache_config)
        self.known = set()

    def get_num_new_matched_tokens(self, request, num_computed_tokens):
        params = request.kv_transfer_params or {}
        if params.get("lookup") and request.request_id not in self.known:
            return None, False
        if params.get("do_remote_prefill"):
            return request.num_prompt_tokens - 1 - num_computed_tokens, True
        return 0, False

    def update_state_after_alloc(self, request, blocks, num_external_tokens):
        if request.kv_transfer_params:
            request.kv_transfer_params["do_remote_prefill"] = False

    def build_connector_meta(self, scheduler_output):
        return KVConnectorMetadata()

    def request_finished(self, request, block_ids):
        return False, None

    def start_load_kv(self, forward_context, **kwargs):
        raise NotImplementedError

    def wait_for_layer_load(self, layer_name):
        raise NotImplementedError

    def save_kv_layer(self, layer_name, kv_layer, attn_metadata, **kwargs):
        raise NotImplementedError

    def wait_for_save(self):
        raise NotImplementedError
