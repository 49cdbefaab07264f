"""Make tiny random encoders in Hugging Face format, with the vectors that others make of texts.

    venv/bin/python tests/oracles/encoders.py crates/model/tests/fixtures

`bert`: tensors without a prefix, f32, `tokenizer.json`, the files of sentence-transformers, which
also makes the vectors, by the mean and by the first token. `bert-vocab`: a masked language model,
f16, its tensors under `bert.`, `vocab.txt`; transformers makes the vectors, of e5's kind.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, BertModel, BertTokenizerFast

TEXTS = [
    "",
    "Who wrote Hamlet?",
    "Hamlet is a tragedy by William Shakespeare, written between 1599 and 1601.",
    "Ünïcödé, naïve façades: ΟΔΟΣ; 東京 is a city. İstanbul too 🦀 \u200d\x07 x\u0301",
    "hamlet",
    "to be or not to be, " * 20,
    "e-mail: o'brien@example.org -- C++ & U.S. $3.50",
    "\t\n  spaces\u00a0everywhere\r\n",
    "a [SEP] b [MASK] [CLS]",
    "x" * 150,
    "who wrote hamlet?",
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LENGTH = 24


def tokenizer():
    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    # Not all characters, so that some words are unknown.
    trainer = trainers.WordPieceTrainer(
        vocab_size=180, special_tokens=SPECIAL, limit_alphabet=60, show_progress=False
    )
    inner.train_from_iterator(TEXTS[1:3] + TEXTS[5:7] + TEXTS[11:], trainer)
    ends = [(it, inner.token_to_id(it)) for it in ["[CLS]", "[SEP]"]]
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return inner


def model(cls, n_tokens):
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=n_tokens,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=40,
    )
    made = cls(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made


def write_json(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def sentence_transformer(folder, mode):
    """The files around the model in the form in which most were published."""
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (path, kind) in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": LENGTH, "do_lower_case": False})
    prompts = {"prompts": {"query": "query: ", "document": "passage: "}}
    write_json(folder / "config_sentence_transformers.json", prompts)
    (folder / "2_Normalize").mkdir(exist_ok=True)
    pooling = {
        "word_embedding_dimension": 32,
        "pooling_mode_cls_token": mode == "cls",
        "pooling_mode_mean_tokens": mode == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    write_json(folder / "1_Pooling" / "config.json", pooling)
    found = SentenceTransformer(str(folder), device="cpu")
    assert found.get_max_seq_length() == LENGTH

    def encode(role):
        encode = found.encode_query if role == "query" else found.encode_document
        return [encode(it, show_progress_bar=False).tolist() for it in TEXTS]

    return {role: encode(role) for role in ["query", "passage"]}


def plain(out):
    folder = out / "bert"
    shutil.rmtree(folder, ignore_errors=True)
    inner = tokenizer()
    model(BertModel, inner.get_vocab_size()).save_pretrained(folder)
    BertTokenizerFast(tokenizer_object=inner).save_pretrained(folder)
    expected = {"texts": TEXTS}
    # What is left in the folder is the mean.
    for mode in ["cls", "mean"]:
        expected[mode] = sentence_transformer(folder, mode)
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "expected.json").write_text(json.dumps(expected))


def vocabulary(out):
    folder = out / "bert-vocab"
    shutil.rmtree(folder, ignore_errors=True)
    inner = tokenizer()
    made = model(BertForMaskedLM, inner.get_vocab_size()).half()
    made.save_pretrained(folder)
    by_id = sorted(inner.get_vocab().items(), key=lambda it: it[1])
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token, _ in by_id))
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 40},
    )
    words = AutoTokenizer.from_pretrained(folder)
    encoder = BertModel.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False).eval()

    def embed(text):
        batch = words(text, truncation=True, return_tensors="pt")
        with torch.no_grad():
            mean = encoder(**batch).last_hidden_state[0].mean(0)
        return torch.nn.functional.normalize(mean, dim=0).tolist()

    expected = {"texts": TEXTS, "tokens": [words(it, truncation=True)["input_ids"] for it in TEXTS]}
    expected["mean"] = {it: [embed(f"{it}: {text}") for text in TEXTS] for it in ["query", "passage"]}
    (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    plain(Path(sys.argv[1]))
    vocabulary(Path(sys.argv[1]))
