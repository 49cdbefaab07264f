"""A real server with a tiny random model, to check the protocol against.

    pip install xllamacpp gguf numpy
    python llama_server.py 18423 600        # port, seconds

It is llama.cpp's, with two layers of random weights and a vocabulary of bytes: what it says means
nothing. Then, in another shell:

    FORAGE_CHAT_URL=http://127.0.0.1:18423/v1 cargo test -p forage-synthesis --test chat real

`llama_server.toml`, beside this file, does the same with the whole of `forage synthesize`.
"""

import pathlib
import sys
import tempfile
import time

import gguf
import numpy
import xllamacpp

WIDTH, HEADS, INNER, LAYERS, CONTEXT = 64, 2, 128, 2, 65536
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
LETTERS = ["\u2581", *"abcdefghijklmnopqrstuvwxyz<>/"]
TOKENS = ["<unk>", "<s>", "</s>", *BYTES, *LETTERS]
UNKNOWN, CONTROL, BYTE, NORMAL = 2, 3, 6, 1


def write_model(path):
    random = numpy.random.default_rng(0)
    model = gguf.GGUFWriter(path, "llama")
    model.add_context_length(CONTEXT)
    model.add_embedding_length(WIDTH)
    model.add_block_count(LAYERS)
    model.add_feed_forward_length(INNER)
    model.add_head_count(HEADS)
    model.add_head_count_kv(HEADS)
    model.add_layer_norm_rms_eps(1e-5)
    model.add_rope_dimension_count(WIDTH // HEADS)
    model.add_vocab_size(len(TOKENS))
    model.add_tokenizer_model("llama")
    model.add_token_list(TOKENS)
    model.add_token_scores([0.0] * len(TOKENS))
    types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * len(BYTES) + [NORMAL] * len(LETTERS)
    model.add_token_types(types)
    model.add_unk_token_id(0)
    model.add_bos_token_id(1)
    model.add_eos_token_id(2)
    model.add_chat_template(
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    )

    def add(name, *shape, scale=0.3):
        values = random.standard_normal(shape) * scale
        model.add_tensor(name, values.astype(numpy.float32))

    def add_norm(name):
        model.add_tensor(name, numpy.ones(WIDTH, numpy.float32))

    add("token_embd.weight", len(TOKENS), WIDTH, scale=1.0)
    add_norm("output_norm.weight")
    add("output.weight", len(TOKENS), WIDTH)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        add_norm(block + "attn_norm.weight")
        add_norm(block + "ffn_norm.weight")
        for name in ["attn_q", "attn_k", "attn_v", "attn_output"]:
            add(f"{block}{name}.weight", WIDTH, WIDTH)
        add(block + "ffn_gate.weight", INNER, WIDTH)
        add(block + "ffn_up.weight", INNER, WIDTH)
        add(block + "ffn_down.weight", WIDTH, INNER)
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


def main():
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "tiny.gguf"
        write_model(path)
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx = CONTEXT
        parameters.n_parallel = 2
        parameters.cpuparams.n_threads = 1
        parameters.port = port
        server = xllamacpp.Server(parameters)
        print(f"listening on {server.listening_address}", flush=True)
        time.sleep(seconds)


if __name__ == "__main__":
    main()
