{{/* The flags of each role: what `countersign <role> --help` lists. */}}

{{/* Flags of every role. Takes root and role. */}}
{{- define "countersign.args.common" -}}
{{- $root := .root }}
- --issuer-name={{ $root.Values.issuerName }}
- --issuer-url={{ include "countersign.issuerUrl" $root }}
- --system-namespace={{ include "countersign.namespace" $root }}
- --cluster-domain={{ $root.Values.clusterDomain }}
- --store={{ include "countersign.store" $root }}
{{- range $root.Values.issuer.clientKeys.internalHosts }}
- --client-keys-host={{ . }}
{{- end }}
{{- range $root.Values.reservedAudiences }}
- --reserved-audience={{ . }}
{{- end }}
{{- range $name, $value := $root.Values.timings }}
{{- with $value }}
- --{{ kebabcase $name }}={{ . }}
{{- end }}
{{- end }}
- --replica-name=$(POD_NAME)
- --log={{ $root.Values.logLevel }}
- --log-format={{ $root.Values.logFormat }}
- --shutdown-delay={{ (index $root.Values .role).shutdownDelaySeconds }}s
{{- end }}

{{- define "countersign.args.controller" -}}
{{- with .root.Values.leaderElection }}
- --lease-duration={{ .leaseDuration }}
- --lease-deadline={{ .renewDeadline }}
- --lease-retry={{ .retryPeriod }}
{{- end }}
- --secret-access={{ .root.Values.secretAccess }}
{{- if eq .root.Values.secretAccess "ByRoleBinding" }}
- --secret-role={{ include "countersign.secretRole" .root }}
{{- end }}
{{- $gateway := .root.Values.gateway }}
{{- if $gateway.envoyGateway.enabled }}
- --wire=envoy-gateway
{{- end }}
{{- if $gateway.istio.enabled }}
- --wire=istio
- --istio-mesh-config={{ $gateway.istio.meshConfig }}
{{- end }}
{{- if or $gateway.envoyGateway.enabled $gateway.istio.enabled }}
- --verifier-service={{ include "countersign.namespace" .root }}/{{ include "countersign.fullname" .root }}-verifier
{{- end }}
{{- if include "countersign.ca.volume" .root }}
- --ca-file=/etc/countersign/ca/ca.crt
{{- end }}
{{- include "countersign.args.certificates" .root }}
{{- end }}

{{/* What the controller makes, for the roles that name nothing else. */}}
{{- define "countersign.args.certificates" -}}
{{- $generated := list }}
{{- range $role := include "countersign.servers" . | fromJsonArray }}
{{- if eq (include "countersign.tls" (dict "root" $ "role" $role)) "Generated" }}{{ $generated = append $generated $role }}{{ end }}
{{- end }}
{{- range $role := $generated }}
- --certificate={{ $role }}={{ include "countersign.fullname" $ }}-{{ $role }}
{{- range (index $.Values $role).tls.dnsNames }}
- --certificate-name={{ $role }}={{ . }}
{{- end }}
{{- end }}
{{- if has "admission" $generated }}
- --webhook-configuration={{ include "countersign.fullname" . }}-admission
{{- end }}
{{- if $generated }}
{{- range $name, $value := .Values.tls.generated }}
{{- with $value }}
- --{{ kebabcase $name }}={{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "countersign.args.issuer" -}}
{{- include "countersign.args.tls" . }}
{{- if .root.Values.issuer.watchPods }}
- --watch-pods
{{- end }}
{{- include "countersign.args.clientCa" . }}
{{- include "countersign.args.store" .root }}
{{- if include "countersign.clientKeys.volume" .root }}
- --client-keys-ca-file=/etc/countersign/client-keys/ca.crt
{{- end }}
{{- end }}

{{/* The volume with the authorities of hosts that clients publish their keys at, if any. */}}
{{- define "countersign.clientKeys.volume" -}}
{{- with .Values.issuer.clientKeys.ca }}
{{- if and .configMapName .secretName }}{{ fail "issuer.clientKeys.ca: give configMapName or secretName, not both" }}{{ end }}
{{- $items := list (dict "key" .key "path" "ca.crt") }}
{{- if .configMapName }}
{{- toYaml (dict "name" "client-keys" "configMap" (dict "name" .configMapName "items" $items)) }}
{{- else if .secretName }}
{{- toYaml (dict "name" "client-keys" "secret" (dict "secretName" .secretName "items" $items)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Takes root and role. */}}
{{- define "countersign.args.clientCa" -}}
{{- if include "countersign.clientCa.volume" . }}
- --client-ca=/etc/countersign/client-ca/ca.crt
{{- end }}
{{- end }}

{{/* The volume with the authorities of client certificates, of roles that ask for some and where there are any. Takes root and role. */}}
{{- define "countersign.clientCa.volume" -}}
{{- $values := index .root.Values .role }}
{{- $role := .role }}
{{- with $values.clientCa }}
{{- if and .configMapName .secretName }}
{{- fail (printf "%s.clientCa: give configMapName or secretName, not both" $role) }}
{{- end }}
{{- if and $values.tls.plaintext (or .configMapName .secretName) }}
{{- fail (printf "%s.clientCa: certificates are shown in TLS handshakes; leave %s.tls.plaintext out, or clientCa" $role $role) }}
{{- end }}
{{- $items := list (dict "key" .key "path" "ca.crt") }}
{{- if .configMapName }}
{{- toYaml (dict "name" "client-ca" "configMap" (dict "name" .configMapName "items" $items)) }}
{{- else if .secretName }}
{{- toYaml (dict "name" "client-ca" "secret" (dict "secretName" .secretName "items" $items)) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "countersign.args.admission" -}}
{{- include "countersign.args.tls" . }}
{{- include "countersign.args.clientCa" . }}
{{- $inject := .root.Values.admission.inject }}
{{- if $inject.enabled }}
- --agent-image={{ include "countersign.image" (merge (dict "image" $inject.image) .) }}
- --agent-admin-listen={{ $inject.adminListen }}
- {{ printf "--agent-resources=%s" (toJson $inject.resources) | quote }}
{{- end }}
{{- end }}

{{- define "countersign.args.verifier" -}}
{{- include "countersign.args.tls" . }}
- --token-cache-bytes={{ .root.Values.verifier.tokenCacheBytes | int64 }}
{{- range .root.Values.verifier.trustedProxies }}
- --trusted-proxy={{ . }}
{{- end }}
{{- end }}

{{/* Takes root and role. */}}
{{- define "countersign.args.tls" -}}
{{- if eq (include "countersign.tls" .) "Plaintext" }}
- --plaintext
{{- else }}
- --tls-cert=/etc/countersign/tls/tls.crt
- --tls-key=/etc/countersign/tls/tls.key
{{- end }}
{{- end }}

{{/* The ports of a role's container: name and number. */}}
{{- define "countersign.ports" -}}
{{- if eq .role "issuer" }}
- {name: issuer, containerPort: {{ ternary 8080 8443 .root.Values.issuer.tls.plaintext }}}
{{- else if eq .role "verifier" }}
- {name: grpc, containerPort: 9001}
- {name: http, containerPort: 9002}
{{- else if eq .role "admission" }}
- {name: webhook, containerPort: 8444}
{{- end }}
- {name: admin, containerPort: 9090}
{{- end }}
