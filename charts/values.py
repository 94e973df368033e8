#!/usr/bin/env python3
"""Makes values.schema.json and the table of README.md from the commented values.yaml of the chart.

    values.py write OPENAPI     write both
    values.py check OPENAPI     exit 1 where one is not what it would be written as

OPENAPI is what an API server answers at /openapi/v2: the types of Kubernetes in the values are taken from it, so that a
misspelt key in a toleration is refused like one of ours. A value's documentation is the comment above it; where another role
documents a value of the same name first, that holds. Nothing may be undocumented, and nothing unknown is allowed.
"""

import json
import sys
from pathlib import Path

import yaml

from openapi import Kubernetes

CHART = Path(__file__).parent / "countersign"
ROLES = ("controller", "issuer", "verifier", "admission")
BEGIN = "<!-- from here on made from values.yaml by `make chart-docs` -->\n"
CORE = "io.k8s.api.core.v1."
# What a bracketed word above a value means where it is a type of Kubernetes.
KUBERNETES = {
    "affinity": CORE + "Affinity",
    "behavior": "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerBehavior",
    "container": CORE + "Container",
    "env": CORE + "EnvVar",
    "hostAlias": CORE + "HostAlias",
    "metric": "io.k8s.api.autoscaling.v2.MetricSpec",
    "peer": "io.k8s.api.networking.v1.NetworkPolicyPeer",
    "podSecurityContext": CORE + "PodSecurityContext",
    "reference": CORE + "LocalObjectReference",
    "resources": CORE + "ResourceRequirements",
    "rule": "io.k8s.api.networking.v1.NetworkPolicyEgressRule",
    "securityContext": CORE + "SecurityContext",
    "spread": CORE + "TopologySpreadConstraint",
    "strategy": "io.k8s.api.apps.v1.DeploymentStrategy",
    "toleration": CORE + "Toleration",
    "volume": CORE + "Volume",
    "volumeMount": CORE + "VolumeMount",
}
STRING = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}


def closed(**properties):
    return {"type": "object", "additionalProperties": False, "properties": properties}


OURS = {
    "duration": {"type": "string", "pattern": "^([0-9]+(h|m|s|ms))*$"},
    "image": closed(
        registry=STRING, repository=STRING, tag=STRING, digest=STRING, pullPolicy={"enum": ["IfNotPresent", "Always", "Never"]}
    ),
    "probe": closed(
        initialDelaySeconds=COUNT, periodSeconds=COUNT, timeoutSeconds=COUNT, failureThreshold=COUNT, successThreshold=COUNT
    ),
    "relabeling": closed(
        action=STRING, modulus=COUNT, regex=STRING, replacement=STRING, separator=STRING, targetLabel=STRING,
        sourceLabels={"type": "array", "items": STRING},
    ),
    "manifest": {"type": ["object", "string"]},
}


class Value:
    """A value: where it is, its default, what it is for, and the words in brackets that say its type."""

    def __init__(self, path, default, text):
        self.path, self.default, self.text = path, default, text
        self.kind = ""
        if text.startswith("["):
            self.kind, _, self.text = text[1:].partition("] ")

    def schema(self, kubernetes):
        kind, _, choices = self.kind.partition(": ")
        if choices:
            return {"enum": choices.split()}
        if " or " in kind:
            return {"type": kind.split(" or ")}
        if kind.startswith("list of "):
            return {"type": "array", "items": self.named(kind.removeprefix("list of "), kubernetes)}
        if kind.startswith("map of "):
            return {"type": "object", "additionalProperties": self.named(kind.removeprefix("map of "), kubernetes)}
        if kind:
            return self.named(kind, kubernetes)
        types = {str: STRING, bool: {"type": "boolean"}, int: COUNT}
        if type(self.default) not in types:
            raise SystemExit(f"values.yaml: {self.path}: say its type in brackets")
        return types[type(self.default)]

    @staticmethod
    def named(word, kubernetes):
        if word == "string":
            return STRING
        if word in OURS:
            return OURS[word]
        if word not in KUBERNETES:
            raise SystemExit(f"values.yaml: nothing is called {word}")
        return kubernetes.ref(KUBERNETES[word])

    def type_cell(self):
        kind, _, choices = self.kind.partition(": ")
        if choices:
            return " ".join(f"`{choice}`" for choice in choices.split())
        words = [f"`{KUBERNETES[word].rpartition('.')[2]}`" if word in KUBERNETES else word for word in kind.split()]
        return " ".join(words) or {str: "string", bool: "boolean", int: "integer"}[type(self.default)]


class Section(dict):
    """A map of values with its own documentation."""

    def __init__(self, text=""):
        super().__init__()
        self.text = text


def comment_above(lines, line):
    found = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].lstrip().removeprefix("#").strip())
    return " ".join(found)


def documented(path, own, texts):
    """What documents a value: its own comment, else that of the same value of an earlier role."""
    role, _, rest = path.partition(".")
    if role in ROLES:
        own = own or texts.get(rest)
        texts.setdefault(rest, own)
    if not own:
        raise SystemExit(f"values.yaml: {path} is not documented")
    return own


def read(node, lines, texts, path="", text=""):
    section = Section(text)
    for key, value in node.value:
        name = f"{path}.{key.value}" if path else key.value
        text = documented(name, "" if node.flow_style else comment_above(lines, key.start_mark.line), texts)
        opaque = text.startswith("[") or not isinstance(value, yaml.MappingNode)
        if opaque:
            section[key.value] = Value(name, yaml.safe_load(yaml.serialize(value)), text)
        else:
            section[key.value] = read(value, lines, texts, name, text)
    return section


def section_schema(section, kubernetes):
    properties = {}
    for name, value in section.items():
        if isinstance(value, Section):
            properties[name] = section_schema(value, kubernetes)
            properties[name]["description"] = value.text
        else:
            # A reference stands alone: what stands beside it is ignored by draft 7.
            properties[name] = {"description": value.text, "allOf": [value.schema(kubernetes)]}
            if "$ref" not in properties[name]["allOf"][0]:
                properties[name] = {"description": value.text, **value.schema(kubernetes)}
    return closed(**properties)


def schema(values, kubernetes):
    made = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart countersign"}
    made.update(section_schema(values, kubernetes))
    # Helm hands this to every chart that is part of another; nothing of it is read here.
    made["properties"]["global"] = {"description": "Values of a chart that this one is part of; not read", "type": "object"}
    made["definitions"] = dict(sorted(kubernetes.used.items()))
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def rows(section):
    for value in section.values():
        if isinstance(value, Section):
            yield from rows(value)
        else:
            default = json.dumps(value.default, ensure_ascii=False)
            yield f"| `{value.path}` | {value.type_cell()} | `{default}` | {value.text} |"


def table(values):
    head = "| value | type | default | meaning |\n|---|---|---|---|\n"
    general = {name: value for name, value in values.items() if isinstance(value, Value)}
    parts = [f"\n### General\n\n{head}" + "\n".join(rows(general))]
    for name, value in values.items():
        if isinstance(value, Section):
            parts.append(f"\n### {name}\n\n{value.text}\n\n{head}" + "\n".join(rows(value)))
    return "\n".join(parts) + "\n"


def main():
    verb, openapi = sys.argv[1:]
    text = (CHART / "values.yaml").read_text()
    values = read(yaml.compose(text), text.splitlines(), {})
    kubernetes = Kubernetes(json.loads(Path(openapi).read_text())["definitions"])
    readme = CHART / "README.md"
    head = readme.read_text().partition(BEGIN)[0]
    stale = False
    for file, made in ((CHART / "values.schema.json", schema(values, kubernetes)), (readme, head + BEGIN + table(values))):
        if verb == "write":
            file.write_text(made)
        elif not file.exists() or file.read_text() != made:
            print(f"{file.relative_to(CHART.parent.parent)} is out of date: run `make chart-docs`", file=sys.stderr)
            stale = True
    sys.exit(stale)


if __name__ == "__main__":
    main()
