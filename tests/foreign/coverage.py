"""The share of the calls of public architectures that the table of formulas has an entry for.

    python -m tests.foreign.coverage

Exits with 1 where it is below 95 %. Needs PyTorch and transformers.
"""

from __future__ import annotations

import sys
from collections import Counter

from chainrule.foreign.torch import formulas
from chainrule.foreign.torch.run import Run

from .architectures import NAMES, build

BAR = 0.95


def main() -> int:
    """Print the share of each architecture and of all, and the calls that have no entry."""
    without: Counter[str] = Counter()
    total = 0
    for name in NAMES:
        model, x = build(name)
        calls = Run(model, None, x, None).calls
        missing = [call.name for call in calls if formulas.find(call) is None]
        total += len(calls)
        without.update(missing)
        sys.stdout.write(f"{name:10} {1 - len(missing) / len(calls):7.1%} of {len(calls)} calls\n")
    share = 1 - without.total() / total
    sys.stdout.write(f"{'all':10} {share:7.1%} of {total} calls\n")
    listed = ", ".join(f"{name} ({count})" for name, count in without.most_common())
    sys.stdout.write(f"without an entry: {listed or 'none'}\n")
    return 0 if share >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
