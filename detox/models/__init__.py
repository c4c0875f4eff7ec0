"""Base models and adapters in, policies out: the only place that knows where weights come from."""

from detox.models.adapters import add_adapter, parameter_counts, save_adapter, save_model
from detox.models.policies import (
    ROOT_ADAPTER,
    Policy,
    add_policy,
    load_beside,
    load_policies,
    load_policy,
)
from detox.models.pretrained import (
    check_bfloat16,
    dtype,
    load_base,
    load_classifier,
    new_classifier,
)
from detox.models.sources import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    EMBEDDED_FOLDER,
    LINEAGE,
    find_source,
    fingerprint,
    read_lineage,
)

__all__ = [
    "ADAPTER_CONFIG",
    "ADAPTER_WEIGHTS",
    "EMBEDDED_FOLDER",
    "LINEAGE",
    "ROOT_ADAPTER",
    "Policy",
    "add_adapter",
    "add_policy",
    "check_bfloat16",
    "dtype",
    "find_source",
    "fingerprint",
    "load_base",
    "load_beside",
    "load_classifier",
    "load_policies",
    "load_policy",
    "new_classifier",
    "parameter_counts",
    "read_lineage",
    "save_adapter",
    "save_model",
]
