{{/* Where certificates come from, and whom they make clients trust. */}}

{{/* The roles there are, as a JSON list. */}}
{{- define "countersign.roles" -}}
{{- $roles := list "controller" "issuer" "verifier" }}
{{- if .Values.admission.enabled }}{{ $roles = append $roles "admission" }}{{ end }}
{{- $roles | toJson }}
{{- end }}

{{/* Those that serve. */}}
{{- define "countersign.servers" -}}
{{- include "countersign.roles" . | fromJsonArray | rest | toJson }}
{{- end }}

{{/* How a role serves: Plaintext, Secret, Generated or CertManager. Takes root and role. */}}
{{- define "countersign.tls" -}}
{{- $tls := (index .root.Values .role).tls }}
{{- if and $tls.plaintext $tls.secretName }}
{{- fail (printf "%s.tls: give either secretName or plaintext: true" .role) }}
{{- end }}
{{- $source := .root.Values.tls.source }}
{{- if $tls.plaintext }}Plaintext{{ else if $tls.secretName }}Secret{{ else if ne $source "Secret" }}{{ $source }}
{{- else }}
{{- $either := printf "%s.tls: give secretName, a Secret of type kubernetes.io/tls, or have it made: tls.source Generated or CertManager" .role }}
{{- if eq .role "admission" }}{{ $either = print $either "; or leave the webhook out: admission.enabled=false" }}{{ end }}
{{- fail $either }}
{{- end }}
{{- end }}

{{/* The Secret a role serves with; nothing where it serves in the clear. Takes root and role. */}}
{{- define "countersign.tls.secret" -}}
{{- $how := include "countersign.tls" . }}
{{- if eq $how "Secret" }}{{ (index .root.Values .role).tls.secretName }}
{{- else if eq $how "Generated" }}{{ .role }}-certificate
{{- else if eq $how "CertManager" }}{{ include "countersign.fullname" .root }}-{{ .role }}-tls
{{- end }}
{{- end }}

{{/* The DNS names of a role's Service, as a JSON list. Takes root and role. */}}
{{- define "countersign.tls.names" -}}
{{- $service := printf "%s-%s.%s" (include "countersign.fullname" .root) .role (include "countersign.namespace" .root) }}
{{- $names := list $service (printf "%s.svc" $service) (printf "%s.svc.%s" $service .root.Values.clusterDomain) }}
{{- concat $names (index .root.Values .role).tls.dnsNames | toJson }}
{{- end }}

{{/* The volume with the authorities that clients must trust, where the controller does not make them itself. */}}
{{- define "countersign.ca.volume" -}}
{{- $ca := .Values.controller.ca }}
{{- if and $ca.configMapName $ca.secretName }}
{{- fail "controller.ca: give configMapName or secretName, not both" }}
{{- end }}
{{- $items := list (dict "key" $ca.key "path" "ca.crt") }}
{{- $issuer := dict "root" . "role" "issuer" }}
{{- $own := and (eq (include "countersign.tls" $issuer) "CertManager") (not .Values.tls.certManager.issuerRef.name) (not .Values.issuerUrl) }}
{{- if $ca.configMapName }}
{{- toYaml (dict "name" "ca" "configMap" (dict "name" $ca.configMapName "items" $items)) }}
{{- else if $ca.secretName }}
{{- toYaml (dict "name" "ca" "secret" (dict "secretName" $ca.secretName "items" $items)) }}
{{- else if $own }}
{{- $items = list (dict "key" "ca.crt" "path" "ca.crt") }}
{{- toYaml (dict "name" "ca" "secret" (dict "secretName" (include "countersign.tls.secret" $issuer) "items" $items)) }}
{{- end }}
{{- end }}
