{{/* What things are called. */}}

{{- define "countersign.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "countersign.fullname" -}}
{{- $name := include "countersign.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* The system namespace. */}}
{{- define "countersign.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{/* The labels by which a role's pods are found: they never change. Takes root and role. */}}
{{- define "countersign.selector" -}}
app.kubernetes.io/name: {{ include "countersign.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .role }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/* The labels of every object. Takes root and, where the object is a role's, role. */}}
{{- define "countersign.labels" -}}
{{- $own := include "countersign.selector" . | fromYaml }}
{{- $own = merge $own (dict
  "app.kubernetes.io/version" (.root.Chart.AppVersion | toString)
  "app.kubernetes.io/part-of" "countersign"
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")) }}
{{- toYaml (merge $own .root.Values.commonLabels) }}
{{- end }}

{{/* The ServiceAccount of a role. Takes root and role. */}}
{{- define "countersign.serviceAccount" -}}
{{- $account := (index .root.Values .role).serviceAccount }}
{{- if and (not $account.create) (not $account.name) }}
{{- fail (printf "%s.serviceAccount: name the ServiceAccount that is there, or let the chart create one" .role) }}
{{- end }}
{{- default (printf "%s-%s" (include "countersign.fullname" .root) .role) $account.name }}
{{- end }}

{{/* The subject of a binding: a role's ServiceAccount. Takes root and role. */}}
{{- define "countersign.subject" -}}
{kind: ServiceAccount, name: {{ include "countersign.serviceAccount" . }}, namespace: {{ include "countersign.namespace" .root }}}
{{- end }}

{{/* The issuer's URL as clients see it. */}}
{{- define "countersign.issuerUrl" -}}
{{- $issuer := .Values.issuer }}
{{- $scheme := ternary "http" "https" $issuer.tls.plaintext }}
{{- $port := ternary "" (printf ":%v" $issuer.service.port) (empty $issuer.service.port) }}
{{- default (printf "%s://%s-issuer.%s.svc%s" $scheme (include "countersign.fullname" .) (include "countersign.namespace" .) $port) .Values.issuerUrl }}
{{- end }}

{{/* The ClusterRole that lets the controller at Secrets where a namespace binds it. */}}
{{- define "countersign.secretRole" -}}
{{- include "countersign.fullname" . }}-secrets
{{- end }}
