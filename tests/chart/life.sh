# The chart's whole life on the API server of check.sh, which sources this. There are no nodes: what is checked is what the API server
# takes, refuses and keeps.

say "what the API server says"
kubectl delete --filename crds --ignore-not-found --timeout=120s >>"$bed/applied"
helm install countersign "$chart" --namespace countersign-system --create-namespace --values "$chart/ci/plaintext-values.yaml" >"$bed/notes"
grep -q 'kubectl .* wait' "$bed/notes" || wrong "NOTES.txt does not say what to do next"
kubectl label --overwrite namespace countersign-system pod-security.kubernetes.io/enforce=restricted >>"$bed/applied"

# Every pod passes `restricted`, and a strict API server takes every field.
for name in plaintext full; do
  release=another-$name render "$chart/ci/$name-values.yaml" --set crds.enabled=false,namespaces.create=false >"$bed/dry.yaml"
  kubectl apply --server-side --force-conflicts --dry-run=server --validate=strict --filename "$bed/dry.yaml" >>"$bed/applied"
  python3 -c 'import sys, yaml
for each in yaml.safe_load_all(sys.stdin):
    if each and each["kind"] == "Deployment":
        pod = each["spec"]["template"]
        account = {"serviceAccountName": "countersign-controller"}
        metadata = {**pod["metadata"], "name": each["metadata"]["name"], "namespace": each["metadata"]["namespace"]}
        print("---", yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**pod["spec"], **account}}), sep="\n")' \
    <"$bed/dry.yaml" >"$bed/pods.yaml"
  kubectl create --dry-run=server --validate=strict --filename "$bed/pods.yaml" >>"$bed/applied"
done

say "who writes status"
kubectl create namespace shop >>"$bed/applied"
kubectl apply --filename examples/quickstart/3-checkout.yaml >>"$bed/applied"
status() { kubectl patch oauthclient checkout --namespace shop --subresource status --type merge --patch '{"status": {"epoch": 7}}' "$@"; }
tries=0
until [[ $(status 2>&1) == *"only Countersign's controller writes status"* ]]; do
  ((++tries < 100)) || wrong "anybody may write status"
  sleep 0.1
done
# As the controller: a token of its own, and the permissions of the chart.
kubectl create token countersign-controller --namespace countersign-system >"$bed/controller.token"
. "$bed/ports"
as_controller=(--kubeconfig /dev/null --server "https://127.0.0.1:$secure" --certificate-authority "$bed/ca.crt" --token "$(cat "$bed/controller.token")")
# It replaces what it watches, and may not patch.
kubectl get oauthclient checkout --namespace shop --output json |
  python3 -c 'import json, sys; print(json.dumps({**json.load(sys.stdin), "status": {"epoch": 7}}))' |
  kubectl replace --subresource status --filename - "${as_controller[@]}" >>"$bed/applied" || wrong "the controller may not write status"
# Another installation's objects are not ours to guard.
sed 's/name: checkout/name: other/; s/^spec:/spec:\n  issuer: other/' examples/quickstart/3-checkout.yaml | kubectl apply --filename - >>"$bed/applied"
kubectl patch oauthclient other --namespace shop --subresource status --type merge --patch '{"status": {"epoch": 7}}' >>"$bed/applied" ||
  wrong "the policy guards another installation's objects"

say "what the verifier may do, however the controller gets at Secrets"
for access in ClusterWide Named ByRoleBinding; do
  helm upgrade countersign "$chart" --namespace countersign-system --values "$chart/ci/plaintext-values.yaml" --set "secretAccess=$access" >>"$bed/applied"
  python3 tests/chart/may.py countersign-system "$access" || wrong "see above"
done

say "upgrade, rollback, uninstall, install again"
helm upgrade countersign "$chart" --namespace countersign-system --values "$chart/ci/full-values.yaml" >>"$bed/applied"
helm rollback countersign 1 --namespace countersign-system >>"$bed/applied"
helm uninstall countersign --namespace countersign-system >>"$bed/applied"
kubectl get --filename crds >>"$bed/applied" || wrong "the definitions went with the release"
kubectl get oauthclient checkout --namespace shop >>"$bed/applied" || wrong "the clients went with the release"
kubectl get namespace countersign-system-keys countersign-system-replicas >>"$bed/applied" || wrong "the signing keys went with the release"
helm install countersign "$chart" --namespace countersign-system --values "$chart/ci/plaintext-values.yaml" >>"$bed/applied"
helm upgrade countersign "$chart" --namespace countersign-system --reuse-values --set crds.keep=false >>"$bed/applied"
helm uninstall countersign --namespace countersign-system >>"$bed/applied"
kubectl wait --for=delete --timeout=30s --filename crds >>"$bed/applied" || wrong "the definitions stayed although crds.keep is false"
