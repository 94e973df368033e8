#!/usr/bin/env python3
"""The types an API server serves, as closed JSON schemas.

    openapi.py OPENAPI FOLDER     a file a kind, named as kubeconform looks for them

OPENAPI is what an API server answers at /openapi/v2. Custom resources are in it once their definitions are there.
"""

import json
import sys
from pathlib import Path

# What Kubernetes spells as a string and reads from a number too.
NUMBERS = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["integer", "string"]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["number", "string"]},
}


class Kubernetes:
    """The types of the API server that are in use, as JSON schemas without documentation."""

    def __init__(self, definitions):
        self.definitions = definitions
        self.used = {}

    def ref(self, name):
        if name not in self.used:
            self.used[name] = None
            self.used[name] = NUMBERS.get(name) or self.schema(self.definitions[name])
        return {"$ref": f"#/definitions/{name}"}

    def schema(self, of):
        if "$ref" in of:
            return self.ref(of["$ref"].rpartition("/")[2])
        kept = {key: of[key] for key in ("type", "required", "enum") if key in of}
        if "items" in of:
            kept["items"] = self.schema(of["items"])
        if "properties" in of:
            kept["properties"] = {name: self.schema(each) for name, each in of["properties"].items()}
            kept["additionalProperties"] = False
        elif "additionalProperties" in of:
            kept["additionalProperties"] = self.schema(of["additionalProperties"])
        return kept


def main():
    definitions = json.loads(Path(sys.argv[1]).read_text())["definitions"]
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            kubernetes = Kubernetes(definitions)
            schema = {**kubernetes.ref(name), "definitions": kubernetes.used}
            words = (kind["kind"], kind["group"].partition(".")[0], kind["version"])
            file = "-".join(word for word in words if word).lower()
            (Path(sys.argv[2]) / f"{file}.json").write_text(json.dumps(schema))


if __name__ == "__main__":
    main()
