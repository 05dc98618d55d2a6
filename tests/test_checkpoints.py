"""Checkpoints as the `transformers` library saves them give the same logits, in either half."""

import dataclasses
import json
import os
import re

import numpy as np
import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"  # before the import below
import transformers
from safetensors.torch import load_file, save_file

from minillm import checkpoints, weights
from minillm.batches import Batch
from minillm.config import TransformerConfig
from minillm.numpy_nn import functional as by_hand
from minillm.numpy_nn.gradcheck import max_error
from minillm.torch_nn import functional as twin

V, T = 61, 24  # vocabulary and context of all these models
GPT2 = {
    "vocab_size": V, "n_positions": T, "n_embd": 24, "n_layer": 2, "n_head": 4,
    "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
LLAMA = {
    "vocab_size": V, "max_position_embeddings": T, "hidden_size": 24, "intermediate_size": 40,
    "num_hidden_layers": 2, "num_attention_heads": 4, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 12,
}  # fmt: skip

# Options, and what is changed in the folder after it is saved.
MODELS = {
    "gpt2": ("GPT2", {}),
    "gpt2, one head, one layer": ("GPT2", {"n_head": 1, "n_layer": 1}),
    "gpt2, wide and deep": ("GPT2", {"n_embd": 96, "n_head": 6, "n_layer": 4}),
    "gpt2, untied": ("GPT2", {"tie_word_embeddings": False}),
    "gpt2, exact gelu": ("GPT2", {"activation_function": "gelu"}),
    "gpt2, relu": ("GPT2", {"activation_function": "relu"}),
    "gpt2, silu": ("GPT2", {"activation_function": "silu"}),
    "gpt2, n_inner": ("GPT2", {"n_inner": 36}),
    "gpt2, eps": ("GPT2", {"layer_norm_epsilon": 0.1}),
    "llama": ("Llama", {}),
    "llama, grouped": ("Llama", {"num_key_value_heads": 2}),
    "llama, one key": ("Llama", {"num_key_value_heads": 1, "num_hidden_layers": 1}),
    "llama, wide and deep": ("Llama", {"hidden_size": 96, "num_hidden_layers": 4}),
    "llama, tied": ("Llama", {"tie_word_embeddings": True}),
    "llama, head_dim": ("Llama", {"head_dim": 10, "num_key_value_heads": 2}),
    "llama, all biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, biases in attention": ("Llama", {"attention_bias": True}),
    "llama, biases after it": ("Llama", {"mlp_bias": True}),
    "llama, eps": ("Llama", {"rms_norm_eps": 0.1}),
    "llama, base": ("Llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 50.0}}),
    "llama 3": ("Llama", {"rope_parameters": LLAMA3, "head_dim": 16}),
}
HALVES = ("numpy", "torch")


def theirs(kind, options):
    """A random model of theirs, with no weight at the value that it starts with."""
    config = getattr(transformers, f"{kind}Config")(
        **{"GPT2": GPT2, "Llama": LLAMA}[kind] | options
    )
    name = {"GPT2": "GPT2LMHeadModel", "Llama": "LlamaForCausalLM"}[kind]
    model = getattr(transformers, name)(config).eval()
    generator = torch.Generator().manual_seed(0)
    for p in model.parameters():
        spread = 1 / np.sqrt(p.shape[-1]) if p.ndim > 1 else 0.3
        p.data += spread * torch.randn(p.shape, generator=generator)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Each model with the folder that it was saved in, made once."""
    made = {}

    def make(name):
        if name not in made:
            made[name] = theirs(*MODELS[name]), tmp_path_factory.mktemp("checkpoint")
            made[name][0].save_pretrained(made[name][1])
        return made[name]

    return make


def ids(B=2, size=T):
    return np.random.default_rng(0).integers(V, size=(B, size))


def logits(model, ids, mask=None):
    """Of one of our models, as an array."""
    batch = Batch(ids, mask=mask)
    batch = batch if type(model).__module__.startswith("minillm.numpy") else batch.to("cpu")
    return np.asarray(model.logits(batch))


def reference(model, ids, mask=None):
    with torch.no_grad():
        mask = None if mask is None else torch.tensor(mask)
        return model(torch.tensor(ids), attention_mask=mask).logits.numpy()


@pytest.mark.parametrize("name", MODELS)
def test_same_logits(saved, name):
    model, folder = saved(name)
    expected = reference(model, ids())
    assert expected.std() > 0.3
    for half in HALVES:
        ours = checkpoints.load(folder, half=half)
        assert isinstance(ours.config, TransformerConfig)
        assert max_error(logits(ours, ids()), expected) < 1e-5
        assert {p.data.dtype for _, p in ours.named_parameters()} <= {
            np.dtype("float32"),
            torch.float32,
        }


@pytest.mark.parametrize("name", ["gpt2", "llama, grouped", "llama, all biases"])
def test_same_logits_in_float64(saved, name, tmp_path):
    """Kept in float64, loaded without being asked for it."""
    model = saved(name)[0].double()
    try:
        model.save_pretrained(tmp_path)
        expected = reference(model, ids())
    finally:
        model.float()
    for half in HALVES:
        ours = checkpoints.load(tmp_path, half=half)
        found = logits(ours, ids())
        assert found.dtype == np.float64
        # Llama's angles are rounded to float32 there.
        assert max_error(found, expected) < (1e-10 if "gpt2" in name else 1e-5)


@pytest.mark.parametrize("name", ["gpt2", "llama, grouped", "llama 3"])
def test_padding_at_the_left(saved, name):
    """Texts of several lengths, with positions counted from where each begins."""
    model, folder = saved(name)
    mask = np.arange(T) >= np.array([[0], [1], [13]])
    places = np.maximum(mask.cumsum(-1) - 1, 0)
    with torch.no_grad():
        expected = model(
            torch.tensor(ids(3)),
            attention_mask=torch.tensor(mask),
            position_ids=torch.tensor(places),
        ).logits.numpy()
    for half in HALVES:
        found = logits(checkpoints.load(folder, half=half), ids(3), mask)
        assert max_error(found[mask], expected[mask]) < 1e-5


@pytest.mark.parametrize("name", ["gpt2", "gpt2, untied", "llama", "llama, head_dim", "llama 3"])
def test_same_text(saved, name):
    """The likeliest token, again and again, to the end of the context."""
    model, folder = saved(name)
    prompt = ids(2, 5)
    written = model.generate(
        torch.tensor(prompt),
        attention_mask=torch.ones(prompt.shape, dtype=torch.long),
        max_new_tokens=T - 5,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    ).numpy()
    for half, array in zip(HALVES, (np.asarray, torch.as_tensor), strict=True):
        ours = checkpoints.load(folder, half=half)
        cache, text, new = ours.new_cache(2), prompt, prompt
        while text.shape[1] < T:
            scores = np.asarray(ours.next_logits(array(new), cache))
            new = scores.argmax(-1)[:, None]
            text = np.concatenate([text, new], 1)
        assert (text == written).all()
        assert len(np.unique(text)) > 5


# What folders may look like.


def rewrite(folder, tensors=lambda found: found, **config):
    """Change the tensors of a saved folder, by a function, or values in its config."""
    path = folder / "model.safetensors"
    save_file(tensors({n: x.clone() for n, x in load_file(path).items()}), path)
    given = json.loads((folder / "config.json").read_text())
    given |= config
    (folder / "config.json").write_text(json.dumps({n: v for n, v in given.items() if v != "gone"}))


def renamed(old, new):
    return lambda found: {re.sub(old, new, name): x.contiguous() for name, x in found.items()}


def with_more(**more):
    return lambda found: found | {n.replace("__", "."): x for n, x in more.items()}


LOOKS = [
    ("gpt2", {"tensors": renamed(r"^transformer\.", "")}),  # as GPT-2's own files
    ("gpt2", {"tensors": with_more(transformer__h__0__attn__bias=torch.ones(1, 1, T, T),
                                   transformer__h__1__attn__masked_bias=torch.tensor(-1e4))}),
    ("gpt2", {"tensors": lambda found: found | {"lm_head.weight": found["transformer.wte.weight"].clone()}}),
    ("gpt2", {name: "gone" for name in ("activation_function", "tie_word_embeddings", "n_inner",
                                        "layer_norm_epsilon", "resid_pdrop", "scale_attn_weights")}),
    ("gpt2", {"activation_function": "gelu_pytorch_tanh"}),
    ("llama, tied", {"tensors": renamed(r"^model\.", "")}),
    ("llama", {"tensors": with_more(model__layers__0__self_attn__rotary_emb__inv_freq=torch.ones(3))}),
    ("llama", {name: "gone" for name in ("num_key_value_heads", "head_dim", "attention_bias",
                                         "mlp_bias", "rope_parameters", "tie_word_embeddings")}),
    ("llama, base", {"rope_parameters": "gone", "rope_theta": 50.0, "rope_scaling": None}),
    ("llama 3", {"rope_parameters": "gone", "rope_theta": 100.0, "rope_scaling": LLAMA3}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes"), LOOKS)
def test_older_and_other_folders(saved, name, changes, tmp_path):
    model = saved(name)[0]
    model.save_pretrained(tmp_path)
    rewrite(tmp_path, **changes)
    for half in HALVES:
        found = logits(checkpoints.load(tmp_path, half=half), ids())
        assert max_error(found, reference(model, ids())) < 1e-5


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_several_files(saved, name, tmp_path):
    model = saved(name)[0]
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    for half in HALVES:
        found = logits(checkpoints.load(tmp_path, half=half), ids())
        assert max_error(found, reference(model, ids())) < 1e-5
    next(iter(sorted(tmp_path.glob("*.safetensors")))).unlink()
    with pytest.raises(FileNotFoundError, match="model-00001-of"):
        checkpoints.load(tmp_path)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["gpt2", "llama, grouped"])
def test_half_precision(saved, name, dtype, tmp_path):
    """The weights are those of the file to the last bit, in float32 unless it is said otherwise."""
    model = theirs(*MODELS[name]).to(getattr(torch, dtype))
    model.save_pretrained(tmp_path)
    model = type(model).from_pretrained(tmp_path, dtype=torch.float32)
    expected = reference(model, ids())
    for half in HALVES:
        ours = checkpoints.load(tmp_path, half=half)
        found = logits(ours, ids())
        assert found.dtype == np.float32 and max_error(found, expected) < 1e-5
    small = checkpoints.load(tmp_path, half="torch", dtype=dtype)
    back = checkpoints.load(tmp_path, half="torch")
    for (_, p), (_, q) in zip(small.named_parameters(), back.named_parameters(), strict=True):
        assert p.dtype == getattr(torch, dtype) and torch.equal(p.float(), q)
    wide = checkpoints.load(tmp_path, dtype="float64")
    assert logits(wide, ids()).dtype == np.float64


def test_dtypes_may_be_mixed(saved, tmp_path):
    """As where norms are kept in float32 among bfloat16."""
    model = saved("llama")[0]
    model.save_pretrained(tmp_path)
    rewrite(
        tmp_path, lambda found: {n: x.bfloat16() if x.ndim > 1 else x for n, x in found.items()}
    )
    for half in HALVES:
        ours = dict(checkpoints.load(tmp_path, half=half).named_parameters())
        norm = model.model.norm.weight.detach().numpy()
        assert np.array_equal(np.asarray(ours["norm.weight"].data), norm)
        head = model.lm_head.weight.detach().bfloat16().float().numpy()
        assert np.array_equal(np.asarray(ours["output.weight"].data), head)


def test_options_that_do_not_show_in_logits(saved, tmp_path):
    config = checkpoints.load(saved("gpt2")[1]).config
    sizes = {"context_length": T, "n_layer": 2, "n_head": 4, "d_model": 24}
    assert config == TransformerConfig.gpt2(vocab_size=V, **sizes, dropout=0.1)
    saved("gpt2")[0].save_pretrained(tmp_path)
    rewrite(tmp_path, resid_pdrop=0.2)  # two rates; we have one
    assert checkpoints.load(tmp_path).config == dataclasses.replace(config, dropout=0.0)


def test_saved_again_by_us(saved, tmp_path):
    """Loaded from their folder, saved in one file of ours, loaded by the other half."""
    for name in ("gpt2", "llama 3"):
        model, folder = saved(name)
        for half, other in (HALVES, HALVES[::-1]):
            weights.save(checkpoints.load(folder, half=half), tmp_path / "model")
            found = logits(weights.load(tmp_path / "model", half=other), ids())
            assert max_error(found, reference(model, ids())) < 1e-5


# What may be wrong.


def without(*names):
    return lambda found: {n: x for n, x in found.items() if n not in names}


def reshaped(name, *shape):
    return lambda found: found | {name: torch.zeros(shape)}


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def only_pickle(folder):
    torch.save({"weight": torch.ones(3)}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def renamed_pickle(folder):
    torch.save({"weight": torch.ones(3)}, folder / "model.safetensors")


def index(weight_map):
    def change(folder):
        (folder / "model.safetensors").rename(folder / "part.safetensors")
        text = json.dumps({"weight_map": weight_map})
        (folder / "model.safetensors.index.json").write_text(text)

    return change


def config_text(text):
    return lambda folder: (folder / "config.json").write_text(text)


def set_to(tensors=lambda found: found, **config):
    return lambda folder: rewrite(folder, tensors, **config)


WTE, C_FC = "transformer.wte.weight", "transformer.h.1.mlp.c_fc.weight"
C_ATTN, LN = "transformer.h.0.attn.c_attn.weight", "transformer.h.0.ln_1.bias"
Q_PROJ = "model.layers.1.self_attn.q_proj.weight"
WRONG = [
    ("another kind", "gpt2", set_to(model_type="bert"), "model_type = 'bert', expected 'gpt2' or 'llama'"),
    ("no kind", "gpt2", set_to(model_type="gone"), "'model_type' is missing"),
    ("of the other kind", "gpt2", set_to(model_type="llama"), "'max_position_embeddings' is missing"),
    ("no size", "gpt2", set_to(n_embd="gone"), "'n_embd' is missing, expected a value"),
    ("heads", "gpt2", set_to(n_head=5), "multiple of n_head = 5"),
    ("size in words", "llama", set_to(hidden_size="large"), "d_model = 'large', expected"),
    ("scale", "gpt2", set_to(scale_attn_weights=False), "scale_attn_weights = False, expected True"),
    ("by layer", "gpt2", set_to(scale_attn_by_inverse_layer_idx=True), "inverse_layer_idx = True, expected False"),
    ("upcast", "gpt2", set_to(reorder_and_upcast_attn=True), "reorder_and_upcast_attn = True"),
    ("cross", "gpt2", set_to(add_cross_attention=True), "add_cross_attention = True"),
    ("activation", "gpt2", set_to(activation_function="mish"), "activation_function = 'mish', expected 'gelu_new' or"),
    ("activation", "llama", set_to(hidden_act="gelu"), "hidden_act = 'gelu', expected 'silu'"),
    ("quantized", "llama", set_to(quantization_config={"bits": 4}), "quantization_config = {'bits': 4}"),
    ("rope", "llama", set_to(rope_parameters={"rope_type": "yarn", "factor": 2.0}), "rope_type = 'yarn', expected 'default'"),
    ("older rope", "llama", set_to(rope_parameters="gone", rope_scaling={"type": "linear", "factor": 2}), "'linear'"),
    ("partial", "llama", set_to(rope_parameters={"partial_rotary_factor": 0.5}), "partial_rotary_factor = 0.5"),
    ("frequencies", "llama", set_to(rope_parameters=LLAMA3 | {"low_freq_factor": 2}), "low_freq_factor = 2"),
    ("no factor", "llama", set_to(rope_parameters={"rope_type": "llama3"}), "'factor' is missing"),
    ("rope no dict", "llama", set_to(rope_parameters="fast"), "config.json: "),
    ("base", "llama", set_to(rope_parameters={"rope_theta": "big"}), "rotary_base = 'big'"),
    ("missing", "gpt2", set_to(without(C_FC)), f"does not fit its config.json: {C_FC} is missing"),
    ("no table", "gpt2", set_to(without(WTE)), f"{WTE} is missing"),
    ("two missing", "llama", set_to(without(Q_PROJ, "lm_head.weight")), f"{Q_PROJ} is missing; lm_head.weight is missing"),
    ("unknown", "gpt2", set_to(with_more(score__weight=torch.ones(2, 24))), "score.weight is unknown"),
    ("layers", "gpt2", set_to(n_layer=1), "transformer.h.1.attn.c_attn.bias is unknown"),
    ("many", "gpt2", set_to(n_layer=4), "and 20 more"),
    ("width", "gpt2", set_to(reshaped(C_FC, 24, 95)), f"{C_FC} has shape (24, 95), expected (24, 96)"),
    ("transposed", "gpt2", set_to(reshaped(C_FC, 96, 24)), f"{C_FC} has shape (96, 24), expected (24, 96)"),
    ("thirds", "gpt2", set_to(reshaped(C_ATTN, 24, 73)), f"{C_ATTN} has shape (24, 73), expected (24, 72)"),
    ("vector", "gpt2", set_to(reshaped(LN, 23)), f"{LN} has shape (23,), expected (24,)"),
    ("vocabulary", "gpt2", set_to(vocab_size=60), f"{WTE} has shape (61, 24), expected (60, 24)"),
    ("key heads", "llama", set_to(num_key_value_heads=2), "k_proj.weight has shape (24, 24), expected (12, 24)"),
    ("head_dim", "llama", set_to(head_dim=8), "q_proj.weight has shape (24, 24), expected (32, 24)"),
    ("bias", "llama", set_to(attention_bias=True), "q_proj.bias is missing"),
    ("no bias", "llama, all biases", set_to(mlp_bias=False), "gate_proj.bias is unknown"),
    ("not tied", "gpt2", set_to(lambda found: found | {"lm_head.weight": torch.zeros(V, 24)}), "lm_head.weight differs from"),
    ("whole numbers", "gpt2", set_to(lambda found: found | {C_FC: found[C_FC].to(torch.int8)}), "dtypes ['float32', 'int8']"),
    ("cut off", "gpt2", cut, "model.safetensors is no whole safetensors file"),
    ("a pickle", "gpt2", only_pickle, "no model.safetensors, but pytorch_model.bin. Pickles are never opened"),
    ("a pickle inside", "gpt2", renamed_pickle, "looks like a pickle"),
    ("index leads out", "gpt2", index({WTE: "../part.safetensors"}), "expected files of this folder"),
    ("index is empty", "gpt2", index({}), "expected files of this folder"),
    ("index is a list", "gpt2", index([1]), "index.json"),
    ("no JSON", "gpt2", config_text("{'model_type': 'gpt2'}"), "config.json is no JSON object"),
    ("half of it", "gpt2", config_text('{"model_type": "gpt2", '), "config.json is no JSON object"),
    ("a number", "gpt2", config_text("5"), "config.json is no JSON object"),
    ("no text", "gpt2", lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\xff"), "no JSON object"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "damage", "message"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG]
)
def test_wrong_folders(saved, name, damage, message, tmp_path):
    saved(name)[0].save_pretrained(tmp_path)
    damage(tmp_path)
    for half in HALVES:
        with pytest.raises(ValueError) as caught:
            checkpoints.load(tmp_path, half=half)
        assert message in str(caught.value) and str(tmp_path) in str(caught.value)


def test_rotations_for_a_longer_context():
    """Fast pairs turn as before, slow ones slower by the factor; what is wrong is told."""
    for half, place in ((by_hand, np.array([1.0])), (twin, torch.tensor([1.0]))):
        context = np.array([4096, 1]) * 2 * np.pi  # long after all pairs turned; before any did
        turns = [half.rotary_tables(place, 8, 10.0, factor=8.0, context=int(c)) for c in context]
        plain = half.rotary_tables(place, 8, 10.0), half.rotary_tables(place / 8, 8, 10.0)
        assert max_error(turns[0][1], plain[0][1]) < 1e-6
        assert max_error(turns[1][1][..., 1:], plain[1][1][..., 1:]) < 1e-6
        with pytest.raises(TypeError, match="context = None"):
            half.rotary_tables(place, 8, factor=8.0)
        with pytest.raises(ValueError, match="factor = 0.5"):
            half.rotary_tables(place, 8, factor=0.5, context=9)
    sizes = {"vocab_size": V, "context_length": T, "n_layer": 1, "n_head": 2, "d_model": 8}
    with pytest.raises(ValueError, match="rotary_factor = 0.5, expected at least 1"):
        TransformerConfig.llama(**sizes, rotary_factor=0.5)
    with pytest.raises(ValueError, match="rotary_context = None, expected"):
        TransformerConfig.llama(**sizes, rotary_factor=2.0)


def test_wrong_arguments(saved, tmp_path):
    folder = saved("gpt2")[1]
    for call, error, message in [
        (lambda: checkpoints.load(tmp_path / "none"), FileNotFoundError, "config.json"),
        (lambda: checkpoints.load(folder / "model.safetensors"), ValueError, "is a file, expected"),
        (lambda: checkpoints.load(folder, half="jax"), ValueError, "half = 'jax'"),
        (lambda: checkpoints.load(folder, dtype="bfloat16"), ValueError, "dtype = 'bfloat16'"),
        (lambda: checkpoints.load(folder, dtype="int8"), ValueError, "dtype = 'int8'"),
        (lambda: weights.load(folder), ValueError, "minillm.checkpoints.load"),
        (
            lambda: weights.load(folder / "model.safetensors"),
            ValueError,
            "minillm.checkpoints.load",
        ),
    ]:
        with pytest.raises(error) as caught:
            call()
        assert message in str(caught.value)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors"):
        checkpoints.load(tmp_path)
