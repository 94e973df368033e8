{{/* How the API server asks the admission role, and by whom it is told whom to trust. */}}

{{/* What ValidatingWebhookConfiguration and MutatingWebhookConfiguration begin with: metadata. */}}
{{- define "countersign.webhook.metadata" -}}
{{- $of := dict "root" . "role" "admission" }}
{{- $name := printf "%s-admission" (include "countersign.fullname" .) -}}
name: {{ $name }}
labels: {{- include "countersign.labels" $of | nindent 2 }}
{{- if and (eq (include "countersign.tls" $of) "CertManager") (not .Values.admission.caBundle) }}
annotations: {cert-manager.io/inject-ca-from: {{ include "countersign.namespace" . }}/{{ $name }}}
{{- end }}
{{- end }}

{{/* The Service. Takes root and path. */}}
{{- define "countersign.webhook.client" -}}
{{- $ca := .root.Values.admission.caBundle }}
{{- if and (eq (include "countersign.tls" (dict "root" .root "role" "admission")) "Secret") (not $ca) }}
{{- fail "admission.caBundle: say who signed the certificate in admission.tls.secretName (PEM, base64), or have it made: tls.source Generated or CertManager" }}
{{- end }}
{{- with $ca }}
caBundle: {{ . }}
{{- end }}
service: {name: {{ include "countersign.fullname" .root }}-admission, namespace: {{ include "countersign.namespace" .root }}, path: {{ .path }}, port: 443}
{{- end }}
