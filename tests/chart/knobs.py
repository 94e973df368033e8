#!/usr/bin/env python3
"""A value that does nothing must not exist.

    knobs.py HELM KUBERNETES_VERSION

Each value of values.yaml must be changed by one of the files in ci/ (issuer and verifier change what controller changes where they
say nothing themselves), and what is rendered must differ once that one change is taken back.
"""

import copy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "charts"))
from values import CHART, ROLES, Value, read  # noqa: E402


def leaves(section):
    for value in section.values():
        yield from [value] if isinstance(value, Value) else leaves(value)


def find(values, path):
    *parents, last = path.split(".")
    for parent in parents:
        values = values.get(parent) or {}
    return values, last


def shared(values, known):
    """The other roles' blocks, filled with what the controller's changes."""
    for path, value in list(known.items()):
        role, _, rest = path.partition(".")
        if role not in ROLES[1:]:
            continue
        theirs, last = find(values, f"controller.{rest}")
        ours, _ = find(values, path)
        if last in theirs and last not in ours and f"controller.{rest}" in known:
            block = values.setdefault(role, {})
            for parent in rest.split(".")[:-1]:
                block = block.setdefault(parent, {})
            block[last] = copy.deepcopy(theirs[last])
    return values


def render(values):
    command = [sys.argv[1], "template", "c", str(CHART), "--kube-version", sys.argv[2], "--namespace", "system", "--values", "-"]
    ended = subprocess.run(command, input=yaml.safe_dump(values), capture_output=True, text=True, check=False)
    return ended.stdout or ended.stderr


def acts(values, whole, value):
    """Whether taking back this one change changes what is rendered."""
    without = copy.deepcopy(values)
    parent, last = find(without, value.path)
    if last not in parent or parent[last] == value.default:
        return False
    del parent[last]
    return render(without) != whole


def main():
    text = (CHART / "values.yaml").read_text()
    known = {value.path: value for value in leaves(read(yaml.compose(text), text.splitlines(), {}))}
    files = [yaml.safe_load(file.read_text()) for file in sorted(CHART.glob("ci/*-values.yaml"))]
    variants = [shared(values, known) if "controller" in values else values for values in files]
    wholes = [render(values) for values in variants]
    with ThreadPoolExecutor(2) as threads:
        idle = list(known.values())
        for values, whole in zip(variants, wholes):
            active = threads.map(lambda value: acts(values, whole, value), idle)
            idle = [value for value, acted in zip(idle, list(active)) if not acted]
    for value in idle:
        print(f"{value.path}: changed by no file in ci/, or to no effect", file=sys.stderr)
    sys.exit(bool(idle))


main()
