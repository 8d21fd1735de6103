#!/usr/bin/env python3
"""The cases that no public set has, by the classes of transformers 5.23.0 (environment: scripts/hf_check.sh).

  make.py check              compute all of CASES and of ROUTERS again from the weights and inputs here, and compare
  make.py new CASE SEED DIR  a case with weights and inputs of its own: config.json, config_v5.json, model.safetensors,
                             expected.safetensors

CASES are those of llama/base but for their rotation. ROUTERS are routers alone, on logits that a tiny random model
gave: a router whose weight is the identity makes its input its logits.
"""

import json
import os
import sys
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TQDM_DISABLE="1")

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM, DeepseekV2Config, DeepseekV3Config  # noqa: E402
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2TopkRouter  # noqa: E402
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3TopkRouter  # noqa: E402

HERE = Path(__file__).parent
CASES = {  # rope_scaling
    "llama/linear": {"type": "linear", "rope_type": "linear", "factor": 4.0},
    "llama/yarn": {"type": "yarn", "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64,
                   "beta_fast": 8.0, "beta_slow": 1.0},
}
ROUTERS = {  # class, its config, and settings
    "deepseek_v3": (DeepseekV3TopkRouter, DeepseekV3Config,
                    dict(n_routed_experts=16, num_experts_per_tok=6, n_group=4, topk_group=2, norm_topk_prob=True,
                         routed_scaling_factor=2.5)),
    "deepseek_v2": (DeepseekV2TopkRouter, DeepseekV2Config,
                    dict(n_routed_experts=12, num_experts_per_tok=4, n_group=4, topk_group=2, norm_topk_prob=False,
                         routed_scaling_factor=4.0, topk_method="group_limited_greedy")),
}
LIMITED = HERE / "limited_routing.safetensors"


def config_of(case):
    config = json.loads((HERE / "llama/base/config.json").read_text())
    return config | {"rope_scaling": CASES[case]}


def load(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def random_weights(model, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, p in model.state_dict().items():
        noise = torch.randn(p.shape, generator=generator)
        weights[name] = 1 + 0.15 * noise if "norm" in name else 0.3 * noise
    return weights


def random_inputs(vocabulary, seed):
    """Ids below 3 (padding, begin, end) do not occur; a beginning and scattered positions have no loss."""
    generator = torch.Generator().manual_seed(seed + 1)
    ids = torch.randint(3, vocabulary, (2, 24), generator=generator)
    labels = ids.masked_fill(torch.rand(ids.shape, generator=generator) < 0.15, -100)
    labels[0, :5] = -100
    return {"input_ids": ids, "labels": labels, "prompt_ids": ids[:1, :8].clone()}


def values(model, inputs):
    hidden = {}
    for i, layer in enumerate(model.model.layers):
        layer.register_forward_pre_hook(lambda _, args, i=i: hidden.__setitem__(f"hidden.{i}", args[0]))
    count = len(model.model.layers)
    model.model.norm.register_forward_pre_hook(lambda _, args: hidden.__setitem__(f"hidden.{count}", args[0]))
    model.zero_grad()
    logits = model(inputs["input_ids"], use_cache=False).logits
    targets = inputs["labels"][:, 1:]
    loss_sum = F.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum")
    loss_count = (targets != -100).sum()
    (loss_sum / loss_count).backward()
    out = {"logits": logits, "loss_sum": loss_sum.view(1), "loss_mean": (loss_sum / loss_count).view(1),
           "loss_count": loss_count.view(1)} | hidden
    out |= {f"grad.{name}": p.grad for name, p in model.named_parameters()}
    ids = inputs["prompt_ids"]
    with torch.no_grad():
        for _ in range(16):
            best = model(ids, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)
            ids = torch.cat([ids, best], 1)
    out["generated_ids"] = ids[:, inputs["prompt_ids"].shape[1]:]
    return inputs | {name: value.detach().contiguous() for name, value in out.items()}


def routed(family, logits, bias):
    kind, config, settings = ROUTERS[family]
    router = kind(config(hidden_size=logits.shape[1], num_attention_heads=1, **settings))
    with torch.no_grad():
        router.weight.copy_(torch.eye(logits.shape[1]))
        if bias is not None:
            router.e_score_correction_bias.copy_(bias)
        same, weights, ids = router(logits)
    assert torch.equal(same, logits)
    order = ids.argsort(-1)
    return {"topk_ids": ids.gather(1, order), "topk_weights": weights.gather(1, order)}


def compare(where, expected, got):
    assert set(expected) == set(got), (where, sorted(set(expected) ^ set(got)))
    worst = 0.0
    for name, value in expected.items():
        if not value.is_floating_point():
            assert torch.equal(value, got[name]), (where, name)
            continue
        worst = max(worst, float((value - got[name]).abs().max() / value.abs().max().clamp(min=1e-30)))
    assert worst <= 1e-6, (where, worst)
    print(f"{where}: {len(expected)} tensors, largest difference {worst:.1e} of the largest entry")


def check():
    for case in CASES:
        folder = HERE / case
        assert json.loads((folder / "config.json").read_text()) == config_of(case), case
        expected = load_file(folder / "expected.safetensors")
        inputs = {name: expected[name] for name in ("input_ids", "labels", "prompt_ids")}
        compare(case, expected, values(load(folder), inputs))
    expected = load_file(LIMITED)
    got = {name: value for name, value in expected.items() if ".topk_" not in name}
    for name, logits in list(got.items()):
        family, what, layer = name.split(".")
        if what == "router_logits":
            bias = got.get(f"{family}.selection_bias.{layer}")
            got |= {f"{family}.{k}.{layer}": v for k, v in routed(family, logits, bias).items()}
    compare(LIMITED.name, expected, got)


def new(case, seed, out):
    out = Path(out)
    out.mkdir(parents=True)
    config = config_of(case)
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(out))
    model.load_state_dict(random_weights(model, seed))
    model.save_pretrained(out)
    (out / "config.json").rename(out / "config_v5.json")
    (out / "generation_config.json").unlink(missing_ok=True)
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_file(values(load(out), random_inputs(config["vocab_size"], seed)), out / "expected.safetensors")


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if sys.argv[1:] == ["check"]:
        return check()
    if len(sys.argv) == 5 and sys.argv[1] == "new" and sys.argv[2] in CASES:
        return new(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    sys.exit(__doc__)


if __name__ == "__main__":
    main()
