"""Make tiny tokenizers, each with a chat template, and what transformers makes of prompts with them.

    venv/bin/python tests/oracles/prompts.py crates/model/tests/fixtures [DATA]

For each case: OUT_DIR/prompts/<name>/{tokenizer files, expected.json}. expected.json holds the ids
of texts as transformers encodes them, and text and ids of conversations in the chat template up to
where the assistant writes. With DATA, the folder that holds `tokenizer_qwen2` of a published Qwen2,
OUT_DIR/prompts/qwen2.json is the same for it; its files are not copied.
"""

import json
import sys
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

CORPUS = [
    "Question: who directed the film Veltor? Doc 1(Title: Mirko Tavel) He was born in the town of Munkas.",
    "Answer the question. Whenever you learn something new, first reason about it.",
    "[INST] <<SYS>> [/INST] user assistant system Be brief.",
]
TEXTS = ["who directed Veltor?", "  two  spaces\n", "Ünï 漢🦀", "a <think> b </think>\n\n", "", "user"]
SYSTEMS = [None, "Be brief."]

CHATML = (
    "{%- for m in messages %}\n{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}\n{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n{{- '<|im_start|>assistant\\n' }}\n{%- endif %}"
)
HEADERS = (
    "{{- bos_token }}{% for m in messages %}{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + "
    "m['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
INST = (
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
    "{% set said = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}"
    "{% else %}{% set rest = messages %}{% set said = '' %}{% endif %}"
    "{% for m in rest %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + (said if loop.first else '') + m['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)


def added(*names):
    return [AddedToken(it, special=True, normalized=False) for it in names]


def byte_level(special, beginning=None):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(added(*special))
    last = processors.ByteLevel(trim_offsets=False)
    if beginning:
        token = (beginning, tokenizer.token_to_id(beginning))
        template = processors.TemplateProcessing(single=f"{beginning} $A", special_tokens=[token])
        last = processors.Sequence([last, template])
    tokenizer.post_processor = last
    return tokenizer


def sentence_piece(metaspace):
    """Llama 2's files, or the same words with the space before the first of a text alone."""
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    learned.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=160, show_progress=False))
    learned = json.loads(learned.to_str())["model"]
    names = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    names += sorted(learned["vocab"], key=learned["vocab"].get)
    vocabulary = {name: at for at, name in enumerate(names)}
    merges = [tuple(it) for it in learned["merges"]]
    model = models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    strip = [decoders.Strip(content=" ", left=1, right=0)]
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(parts + strip)
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.add_special_tokens(added("<unk>", "<s>", "</s>"))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def gpt2(folder):
    """The older files: a vocabulary, its merges and the tokens that were added later."""
    model = json.loads(byte_level([]).to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False))
    merges = "".join(f"{left} {right}\n" for left, right in model["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges)
    ends = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    listed = {token: len(model["vocab"]) + at for at, token in enumerate(ends)}
    (folder / "added_tokens.json").write_text(json.dumps(listed))


def write(folder, tokenizer, config, template=None):
    folder.mkdir(parents=True, exist_ok=True)
    if tokenizer:
        (folder / "tokenizer.json").write_text(tokenizer.to_str())
    if template:
        (folder / "chat_template.jinja").write_text(template)
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1))


def expected(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chats = []
    for system in SYSTEMS:
        for user in TEXTS:
            messages = [{"role": "system", "content": system}] if system else []
            messages.append({"role": "user", "content": user})
            how = dict(add_generation_prompt=True)
            text = tokenizer.apply_chat_template(messages, tokenize=False, **how)
            ids = tokenizer.apply_chat_template(messages, return_dict=False, **how)
            chats.append({"system": system, "user": user, "text": text, "ids": ids})
    plain = [{"text": text, "ids": tokenizer(text).input_ids} for text in TEXTS]
    return json.dumps({"plain": plain, "chat": chats}, ensure_ascii=False)


def main(out: Path, data: Path | None) -> None:
    fast = {"tokenizer_class": "PreTrainedTokenizerFast"}
    begins = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    chat = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    headers = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    out = out / "prompts"
    named = [{"name": "tool_use", "template": "{{ raise_exception('no tools') }}"}, {"name": "default", "template": CHATML}]
    write(out / "chatml", byte_level(chat), fast | {"eos_token": "<|im_end|>", "bos_token": None, "add_bos_token": False, "chat_template": named})
    llama3 = fast | {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
    write(out / "llama3", byte_level(headers, headers[0]), llama3, HEADERS)
    write(out / "llama2", sentence_piece(metaspace=False), fast | begins | {"add_bos_token": True, "chat_template": INST})
    write(out / "metaspace", sentence_piece(metaspace=True), fast | begins | {"chat_template": INST})
    # `add_bos_token` counts beside the older files only.
    write(out / "unbegun", sentence_piece(metaspace=False), fast | begins | {"add_bos_token": False, "chat_template": INST})
    (out / "gpt2").mkdir(parents=True, exist_ok=True)
    gpt2(out / "gpt2")
    end = "<|endoftext|>"
    older = {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "bos_token": end, "eos_token": end, "unk_token": end}
    write(out / "gpt2", None, older, CHATML)
    for folder in sorted(it for it in out.iterdir() if it.is_dir()):
        (folder / "expected.json").write_text(expected(folder) + "\n")
        print(folder.name)
    if data:
        (out / "qwen2.json").write_text(expected(data / "tokenizer_qwen2") + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
