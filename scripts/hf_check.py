"""Loads a folder strictly with transformers and writes inputs, logits and greedy tokens: hf_check.py FOLDER OUT."""

import os
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, out = sys.argv[1:]
torch.manual_seed(1)
model, loading = AutoModelForCausalLM.from_pretrained(
    folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
)
problems = {kind: names for kind, names in loading.items() if names}
if problems:
    sys.exit(f"FAIL {folder}: {problems}")
model.eval()
length = min(24, model.config.max_position_embeddings - 16)
ids = torch.randint(3, model.config.vocab_size, (2, length))
prompt = ids[:1, :8].clone()
with torch.no_grad():
    logits = model(ids, use_cache=False).logits
    tokens = prompt
    for _ in range(16):
        tokens = torch.cat([tokens, model(tokens, use_cache=False).logits[:, -1:].argmax(-1)], 1)
save_file(
    {"input_ids": ids, "prompt_ids": prompt, "logits": logits.contiguous(), "generated_ids": tokens[:, 8:].clone()},
    out,
)
if os.path.exists(os.path.join(folder, "tokenizer.json")):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "Tokens \u00e9\u4e2d\n"
    if tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) != text:
        sys.exit(f"FAIL {folder}: the tokenizer does not give back what it was given")
