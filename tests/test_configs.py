"""The launch settings that ship are ones that accelerate reads as meant."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env

CONFIGS = Path(__file__).parents[1] / "configs"


def arguments(name: str) -> argparse.Namespace:
    """What ``accelerate launch --config_file`` makes of a file."""
    parser = launch_command_parser()
    given = parser.parse_args(["--config_file", str(CONFIGS / name), "-m", "detox"])
    found: argparse.Namespace = _validate_launch_command(given)[0]
    return found


@pytest.mark.parametrize(("name", "kind"), [("ddp.yaml", "MULTI_GPU"), ("fsdp.yaml", "FSDP")])
def test_a_node_of_eight(name: str, kind: str) -> None:
    config = load_config_from_file(str(CONFIGS / name))
    assert config.num_processes == 8
    assert str(config.distributed_type).endswith(kind)
    assert config.mixed_precision == "no"


@pytest.mark.parametrize(("name", "dealt_out"), [("ddp.yaml", False), ("fsdp.yaml", True)])
def test_frozen_weights_are_dealt_out_only_where_asked_for(
    name: str, dealt_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    environment = prepare_multi_gpu_env(arguments(name))
    assert (environment.get("ACCELERATE_USE_FSDP") == "true") == dealt_out
