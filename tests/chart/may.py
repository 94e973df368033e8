#!/usr/bin/env python3
"""What roles may do with Secrets and Leases, as the API server's own authorizer says (SubjectAccessReview).

    may.py NAMESPACE ACCESS

NAMESPACE is that of release `countersign`, ACCESS its `secretAccess`.

- the verifier reads and writes no Secret anywhere, whatever the access of the controller, and touches no Lease but in
  NAMESPACE-replicas, where its heartbeat is;
- the controller has what ACCESS says in a namespace of users: that shows that this access is what was asked about.
"""

import itertools
import json
import subprocess
import sys

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
# What the controller may do with the Secrets of a namespace that bound nothing.
CONTROLLER = {
    "ClusterWide": {"get", "list", "watch", "create", "update", "delete"},
    "Named": {"get", "create", "update", "delete"},
    "ByRoleBinding": set(),
}
HEARTBEAT = {"get", "create", "update", "delete"}


def review(system, account, what):
    verb, resource, namespace, name = what
    group = "coordination.k8s.io" if resource == "leases" else ""
    attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace, "name": name}
    accounts = ["system:serviceaccounts", f"system:serviceaccounts:{system}", "system:authenticated"]
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{system}:countersign-{account}",
            "groups": accounts,
            "resourceAttributes": attributes,
        },
    }


def allowed(system, account, questions):
    """Those of the questions to which the answer is yes."""
    asked = {"apiVersion": "v1", "kind": "List", "items": [review(system, account, what) for what in questions]}
    command = ["kubectl", "create", "--filename=-", "--output=json"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the API server takes no SubjectAccessReview: {done.stderr}")
    answers, at = [], 0
    while at < len(done.stdout.rstrip()):
        answer, at = json.JSONDecoder().raw_decode(done.stdout, at)
        answers.extend(answer["items"] if answer["kind"] == "List" else [answer])
        while at < len(done.stdout) and done.stdout[at].isspace():
            at += 1
    if len(answers) != len(questions):
        sys.exit(f"{len(questions)} questions and {len(answers)} answers")
    return {what for what, answer in zip(questions, answers) if answer["status"]["allowed"]}


def main(system, access):
    replicas = f"{system}-replicas"
    # Empty: in all namespaces at once. A rule may be about one name alone, so some are asked about by theirs.
    places = ("", "shop", "default", "kube-system", system, f"{system}-keys", replicas)
    names = ("", "checkout-oauth", "verifier-certificate", "ca-key-1", "default-1")
    secrets = list(itertools.product(VERBS, ("secrets",), places, names))
    leases = list(itertools.product(VERBS, ("leases",), places, ("", "countersign-controller")))
    wrong = []
    found = allowed(system, "verifier", secrets + leases)
    wrong += [f"the verifier may {' '.join(what)}" for what in sorted(found) if what[1] == "secrets" or what[2] != replicas]
    heartbeat = {verb for verb, resource, namespace, name in found if (resource, namespace, name) == ("leases", replicas, "")}
    if heartbeat != HEARTBEAT:
        wrong.append(f"with Leases of {replicas} the verifier may {sorted(heartbeat)}")
    of_shop = [(verb, "secrets", "shop", "") for verb in VERBS]
    controllers = {verb for verb, *_ in allowed(system, "controller", of_shop)}
    if controllers != CONTROLLER[access]:
        wrong.append(f"with Secrets of shop the controller may {sorted(controllers)}")
    if wrong:
        sys.exit("\n".join(f"secretAccess {access}: {each}" for each in wrong))


if __name__ == "__main__":
    main(*sys.argv[1:])
