#!/usr/bin/env python3
"""What is written down twice, and must agree.

    agrees.py RENDERED FULL BINARY

RENDERED is the chart as release `countersign` in `countersign-system`, all of it enabled; FULL has every value changed.

- permissions, accounts, namespaces and admission rules of the chart are those of deploy/, with which the integration tests run;
- its definitions are those of crds/;
- each alert has a runbook, and each runbook an alert;
- every metric in alerts and dashboard is one that docs/reference has;
- every flag is one the binary takes, with either values;
- what Argo CD is told is docs/argocd/health.lua.
"""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent.parent
PERMISSIONS = ("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ValidatingWebhookConfiguration",
               "MutatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


def documents(text):
    return [each for each in yaml.safe_load_all(text) if each]


def bare(each):
    """Without what the chart adds for Helm and for people."""
    kept = {key: value for key, value in each.items() if key != "automountServiceAccountToken"}
    metadata = {key: value for key, value in each["metadata"].items() if key not in ("labels", "annotations")}
    return {**kept, "metadata": metadata}


def by_name(objects):
    def key(each):
        return each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]

    return {key(each): bare(each) for each in objects}


def differences(what, ours, theirs):
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            yield f"{what}: {' '.join(key)}\n  chart: {ours.get(key)}\n  other: {theirs.get(key)}"


def permissions(rendered):
    deploy = [each for file in sorted((ROOT / "deploy").glob("*.yaml")) for each in documents(file.read_text())]
    # The release's namespace is Helm's to make; what teams may do, and who writes status, stands in the chart alone.
    theirs = {key: each for key, each in by_name(deploy).items() if key != ("Namespace", "", "countersign-system")}
    alone = ("countersign-view", "countersign-edit", "countersign-status")
    ours = [each for each in rendered if each["kind"] in PERMISSIONS and each["metadata"]["name"] not in alone]
    yield from differences("deploy/", by_name(ours), theirs)


def definitions(rendered):
    crds = [each for file in sorted((ROOT / "crds").glob("*.yaml")) for each in documents(file.read_text())]
    ours = [each for each in rendered if each["kind"] == "CustomResourceDefinition"]
    yield from differences("crds/", by_name(ours), by_name(crds))


def rules(rendered):
    groups = [each["spec"]["groups"] for each in rendered if each["kind"] == "PrometheusRule"]
    return [rule for each in groups for group in each for rule in group["rules"]]


def runbooks(rendered):
    alerts = {rule["alert"] for rule in rules(rendered)}
    pages = {page.stem for page in (ROOT / "docs/runbooks").glob("*.md")}
    for name in sorted(alerts ^ pages):
        yield f"{name}: an alert and a page of docs/runbooks must both be there"
    for rule in rules(rendered):
        if not rule["annotations"]["runbook_url"].endswith(f"/{rule['alert']}.md"):
            yield f"{rule['alert']}: runbook_url names another page"


def metrics(rendered):
    reference = "".join(page.read_text() for page in (ROOT / "docs/reference").glob("*metrics.md"))
    known = {f"countersign_{name}" for name in re.findall(r"^\| `(\w+)`", reference, re.MULTILINE)}
    dashboards = [text for each in rendered if each["kind"] == "ConfigMap" for text in each.get("data", {}).values()]
    texts = [rule["expr"] for rule in rules(rendered)] + dashboards
    used = {name for text in texts for name in re.findall(r"countersign_\w+", text)}
    if len(used) < 5:
        yield "alerts and dashboard are empty"
    for name in sorted(used):
        if name.removesuffix("_bucket") not in known:
            yield f"{name}: no such metric in docs/reference"


def flags(rendered, binary):
    for each in rendered:
        if each["kind"] != "Deployment":
            continue
        container = each["spec"]["template"]["spec"]["containers"][0]
        # What the kubelet puts in, and a kubeconfig that is not there: flags are read before it is missed.
        args = [arg.replace("$(POD_NAME)", "pod") for arg in container["args"]]
        args += ["--admin-listen=127.0.0.1:0", "--kubeconfig=/nowhere"]
        args = [arg for arg in args if not arg.startswith("--admin-listen=[")]
        ended = subprocess.run([binary, *args], capture_output=True, text=True, timeout=60, env={}, check=False)
        if ended.returncode != 1:  # 2 is wrong usage
            yield f"{binary} {' '.join(args)}: {ended.returncode}\n{ended.stdout}{ended.stderr}"


def argo(_):
    told = yaml.safe_load((ROOT / "docs/argocd/argocd-cm.yaml").read_text())["data"]
    script = (ROOT / "docs/argocd/health.lua").read_text()
    kinds = ("OAuthClient", "ScopePolicy", "NamespaceAllowance", "SigningKey")
    if told != {f"resource.customizations.health.countersign.dev_{kind}": script for kind in kinds}:
        yield "docs/argocd/argocd-cm.yaml does not hold health.lua for each kind"


def main():
    rendered, full = (documents(Path(file).read_text()) for file in sys.argv[1:3])
    wrong = [each for check in (permissions, definitions, runbooks, metrics, argo) for each in check(rendered)]
    wrong += [each for objects in (rendered, full) for each in flags(objects, sys.argv[3])]
    print("".join(f"{each}\n" for each in wrong), end="", file=sys.stderr)
    sys.exit(bool(wrong))


main()
