"""Known weaknesses of what requirements.txt pins, as far as an advisory database can be reached.

    make audit

pip-audit asks the package index for advisories. Where it answers for none of the packages (behind
a mirror that has no advisories, or without a network) nothing is claimed and nothing fails; a
weakness that is known fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINNED = Path(__file__).parent.parent / "requirements.txt"
# pip-audit asks one package after the other, so that a network that swallows questions takes long.
PATIENCE = 300.0


def main() -> int:
    argv = [sys.executable, "-m", "pip_audit", "-r", str(PINNED), "--no-deps", "--disable-pip"]
    try:
        done = subprocess.run(
            [*argv, "--format", "json", "--progress-spinner", "off", "--timeout", "5"],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
        found = []
    weak, unknown = told(found)
    for line in weak:
        print(f"audit: {line}", file=sys.stderr)
    asked = len(found) - unknown
    if not asked:
        print("audit: no advisory database can be reached from here, so nothing was audited.")
        return 0
    print(
        f"audit: {asked} packages, {len(weak)} known weaknesses; {unknown} could not be asked for."
    )
    return 2 if weak else 0


def told(found: list[dict[str, Any]]) -> tuple[list[str], int]:
    """A line for each weakness in pip-audit's answer, and how many packages it knew nothing of."""
    weak = [
        f"{each['name']} {each['version']}: {vuln['id']}"
        + (f", mended in {', '.join(vuln['fix_versions'])}" if vuln["fix_versions"] else "")
        for each in found
        for vuln in each.get("vulns", ())
    ]
    return weak, sum("skip_reason" in each for each in found)


if __name__ == "__main__":
    sys.exit(main())
