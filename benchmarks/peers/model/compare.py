"""Training and generation beside PyTorch, in one run on one machine.

    python compare.py [--shape small|qwen2.5-0.5b] [--device cpu|cuda:0] [--forage PATH]

Every measurement is a process of its own, so that its peak of memory is its own; Forage and PyTorch
take turns. Prints a table of tokens a second, and ratios above 1 where Forage is faster.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

SHAPES = {
    # words, width, inner, layers, heads, key heads
    "small": (2048, 256, 704, 4, 4, 4),
    "qwen2.5-0.5b": (151936, 896, 4864, 24, 14, 2),
}
SEQUENCES, TOKENS = 16, 256
PROMPT, NEW = 32, 128
BATCHES = (1, 16, 64)


def model(torch, shape, device):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    words, width, inner, layers, heads, kv_heads = SHAPES[shape]
    config = Qwen2Config(
        vocab_size=words, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv_heads, max_position_embeddings=2048,
        tie_word_embeddings=True, eos_token_id=None, bos_token_id=None, pad_token_id=0,
    )
    torch.manual_seed(0)
    return Qwen2ForCausalLM(config).to(device)


def synchronize(torch, device):
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def train(torch, arguments):
    """Whole steps: forward, backward and AdamW, eager, in f32."""
    net = model(torch, arguments.shape, arguments.device).train()
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, betas=(0.9, 0.95))
    words = SHAPES[arguments.shape][0]
    tokens = torch.randint(1, words, (SEQUENCES, TOKENS + 1), device=arguments.device)
    for round in range(arguments.rounds):
        if round == 1:
            start = time.time()
        logits = net(tokens[:, :-1]).logits.flatten(0, 1)
        torch.nn.functional.cross_entropy(logits, tokens[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        synchronize(torch, arguments.device)
    return (arguments.rounds - 1) * SEQUENCES * TOKENS / (time.time() - start)


def generate(torch, arguments):
    """`generate` of transformers, sampling."""
    net = model(torch, arguments.shape, arguments.device).eval()
    words = SHAPES[arguments.shape][0]
    for round in range(arguments.rounds):
        if round == 1:
            start = time.time()
        prompts = torch.randint(1, words, (arguments.batch, PROMPT), device=arguments.device)
        net.generate(prompts, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=True, top_k=0)
        synchronize(torch, arguments.device)
    return (arguments.rounds - 1) * arguments.batch * NEW / (time.time() - start)


def child(arguments):
    import torch

    torch.set_num_threads(arguments.threads)
    rate = {"train": train, "generate": generate}[arguments.child](torch, arguments)
    if arguments.device.startswith("cuda"):
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"tokens_per_second": rate, "peak_bytes": peak}))


def measure(command):
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=len(__import__("os").sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--forage", default="target/release/examples/model_speed")
    parser.add_argument("--child", choices=("train", "generate"))
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return

    common = ["--shape", arguments.shape, "--device", arguments.device,
              "--rounds", str(arguments.rounds)]
    cases = [("train", arguments.batch)] + [("generate", batch) for batch in BATCHES]
    print(f"{'':<14}{'Forage tok/s':>14}{'PyTorch tok/s':>15}{'ratio':>7}"
          f"{'Forage MB':>11}{'PyTorch MB':>12}{'ratio':>7}")
    for what, batch in cases:
        options = common + (["--batch", str(batch)] if what == "generate" else [])
        ours = measure([arguments.forage, what] + options)
        theirs = measure([sys.executable, __file__, "--child", what, "--batch", str(batch),
                          "--threads", str(arguments.threads)] + common)
        name = what if what == "train" else f"generate {batch}"
        rates = [it["tokens_per_second"] for it in (ours, theirs)]
        # The program sees its own memory, not that of a card: `nvidia-smi` does.
        peaks = [(it["peak_bytes"] or 0) / 1e6 for it in (ours, theirs)]
        memory = f"{peaks[0]:>11.0f}{peaks[1]:>12.0f}{peaks[0] / peaks[1]:>7.2f}"
        if arguments.device != "cpu":
            memory = f"{'':>11}{peaks[1]:>12.0f}"
        print(f"{name:<14}{rates[0]:>14.0f}{rates[1]:>15.0f}{rates[0] / rates[1]:>7.2f}{memory}")


if __name__ == "__main__":
    main()
