"""Make tiny random checkpoints in Hugging Face format with reference outputs.

    venv/bin/python tests/oracles/models.py crates/model/tests/fixtures

For each architecture: OUT_DIR/<name>/{config.json, *.safetensors, expected.json}.
expected.json holds float32 logits for fixed token ids, per-token log-probabilities,
a greedy continuation, and the gradient norm of every parameter for the mean
negative log-likelihood of the same ids, so that a port can be checked forward and backward.
"""

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

BASE = dict(
    vocab_size=320,
    hidden_size=48,
    intermediate_size=96,
    num_hidden_layers=3,
    num_attention_heads=6,
    num_key_value_heads=2,
    max_position_embeddings=512,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
LLAMA3_ROPE = dict(
    rope_type="llama3",
    rope_theta=500000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
CASES = {
    "qwen2-tied": (Qwen2ForCausalLM, Qwen2Config(**BASE, tie_word_embeddings=True), {}),
    "qwen2-untied-sharded": (Qwen2ForCausalLM, Qwen2Config(**BASE, tie_word_embeddings=False), {"max_shard_size": "60KB"}),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**BASE, head_dim=16, tie_word_embeddings=True), {}),
    "llama": (LlamaForCausalLM, LlamaConfig(**BASE, tie_word_embeddings=False), {}),
    "llama3-rope": (LlamaForCausalLM, LlamaConfig(**BASE, tie_word_embeddings=True, rope_parameters=LLAMA3_ROPE), {}),
    "qwen2-bf16": (Qwen2ForCausalLM, Qwen2Config(**BASE, tie_word_embeddings=True), {"dtype": torch.bfloat16}),
}


def main(out: Path) -> None:
    for name, (cls, config, how) in CASES.items():
        torch.manual_seed(7)
        model = cls(config).eval()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p) * 0.05)
        folder = out / name
        dtype = how.get("dtype", torch.float32)
        if dtype != torch.float32:
            # Stored in bf16, evaluated in float32 from the stored values.
            model = model.to(dtype)
        save = {k: v for k, v in how.items() if k == "max_shard_size"}
        model.save_pretrained(folder, **save)
        model = model.float()
        ids = torch.randint(3, 320, (2, 96), generator=torch.Generator().manual_seed(11))
        out_logits = model(ids).logits
        logp = torch.log_softmax(out_logits[:, :-1], -1).gather(2, ids[:, 1:, None])[..., 0]
        loss = -logp.mean()
        loss.backward()
        greedy = model.generate(ids[:, :8], max_new_tokens=24, do_sample=False, eos_token_id=None)
        expected = {
            "input_ids": ids.tolist(),
            "logits_first_and_last_position": out_logits[:, [0, -1]].detach().tolist(),
            "logprobs": logp.detach().tolist(),
            "loss": loss.item(),
            "greedy_from_first_8": greedy.tolist(),
            "gradient_norms": {n: p.grad.norm().item() for n, p in model.named_parameters()},
        }
        (folder / "expected.json").write_text(json.dumps(expected))
        print(name, round(loss.item(), 6))
    adapter(out)


def adapter(out: Path) -> None:
    """An adapter of one of them as peft writes it, with the logits of both together."""
    base = Qwen2ForCausalLM.from_pretrained(out / "qwen2-tied")
    torch.manual_seed(13)
    config = LoraConfig(
        r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj"],
        init_lora_weights=False, task_type="CAUSAL_LM",
    )
    model = get_peft_model(base, config).eval()
    # Not where it lay on this machine.
    model.peft_config["default"].base_model_name_or_path = "qwen2-tied"
    folder = out / "peft"
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    ids = torch.randint(3, 320, (1, 48), generator=torch.Generator().manual_seed(17))
    with torch.no_grad():
        logits = model(ids).logits[:, [0, -1]]
    expected = {"input_ids": ids.tolist(), "logits_first_and_last_position": logits.tolist()}
    (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
