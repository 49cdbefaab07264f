"""Load what Forage saved with transformers and peft, and compare logits.

    cargo run -p forage-model --example saved -- OUT_DIR
    venv/bin/python tests/oracles/saved.py OUT_DIR

Of every family: a folder in one file, one in shards, one in bf16, an adapter in PEFT's files, and
a folder with the adapter merged. Fails where a logit is off by more than 2e-4.
"""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
from transformers.utils import logging

logging.disable_progress_bar()


def load(folder):
    model, found = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not any(found.values()), f"{folder}: {found}"
    return model.eval()


def check(name, model, tokens, wanted):
    with torch.no_grad():
        found = model(tokens).logits[0].flatten()
    most = (found - torch.tensor(wanted)).abs().max().item()
    print(f"{name}: largest difference {most:.2e}, logits up to {found.abs().max().item():.1f}")
    assert most < 2e-4, name


def main(out):
    families = sorted(path.parent for path in out.glob("*/logits.json"))
    assert len(families) == 3, families
    for family in families:
        expected = json.loads((family / "logits.json").read_text())
        tokens = torch.tensor([expected.pop("tokens")])
        for name, wanted in expected.items():
            if name == "adapter":
                model = PeftModel.from_pretrained(load(family / "base"), family / name)
            else:
                model = load(family / name)
            check(f"{family.name}, {name}", model, tokens, wanted)


main(Path(sys.argv[1]))
