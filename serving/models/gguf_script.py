"""``python gguf_script.py FILE.gguf FOLDER``: the converter's own process (see ``gguf.py``).

transformers' ``from_pretrained(..., gguf_file=...)`` would do the same, byte for byte, but asks
for ``accelerate``; its GGUF reader alone does not.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint


def main(gguf: Path, folder: Path) -> None:
    """Read the GGUF file, unpack its weights and save all as a Hugging Face folder."""
    where = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    config = AutoConfig.from_pretrained(**where)
    tokenizer = AutoTokenizer.from_pretrained(**where)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    checkpoint = load_gguf_checkpoint(
        str(gguf), return_tensors=True, model_to_load=model, torch_dtype=torch.bfloat16
    )
    _fill(model, checkpoint["tensors"])
    _drop_quantization(model.config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _fill(model: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Give the model its weights; tied ones are in the file only once."""
    model.load_state_dict(tensors, strict=False, assign=True)
    model.tie_weights()
    hollow = [name for name, weight in model.named_parameters() if weight.is_meta]
    if hollow:
        raise ValueError(f"the file lacks the weights {', '.join(hollow[:3])}")


def _drop_quantization(config: object) -> None:
    """The weights are plain now: an engine must not look for GGUF blocks."""
    if hasattr(config, "quantization_config"):
        del config.quantization_config


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
