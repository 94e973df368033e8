{{/* Where issuers note which assertions were used. */}}

{{/* The kind of store, as every role is told it; refuses what cannot be. */}}
{{- define "countersign.store" -}}
{{- $issuer := .Values.issuer }}
{{- with $issuer.store }}
{{- if eq .type "Shared" }}
{{- if not .url }}{{ fail "issuer.store: give the url of a Redis or Valkey, such as rediss://redis.example.com" }}{{ end }}
{{- if regexMatch "@|[?&]pass(word)?=" .url }}{{ fail "issuer.store.url: everybody who sees the Deployment sees it: put the password into a Secret, issuer.store.passwordSecret" }}{{ end }}
{{- else if or .url .username .passwordSecret.name .ca.configMapName .ca.secretName }}
{{- fail "issuer.store: url, username, passwordSecret and ca belong to type Shared" }}
{{- end }}
{{- if and .ca.configMapName .ca.secretName }}{{ fail "issuer.store.ca: give configMapName or secretName, not both" }}{{ end }}
{{- if eq .type "Embedded" }}
{{- if not .claimName }}{{ fail "issuer.store: name the PersistentVolumeClaim of the file in claimName" }}{{ end }}
{{- if or $issuer.autoscaling.enabled (ne (int $issuer.replicaCount) 1) (ne $issuer.strategy.type "Recreate") }}
{{- fail "issuer.store: type Embedded is for a single issuer: set issuer.replicaCount to 1 and issuer.strategy to {type: Recreate, rollingUpdate: null}, or use type Shared" }}
{{- end }}
{{- else if .claimName }}
{{- fail "issuer.store: claimName belongs to type Embedded" }}
{{- end }}
{{- lower .type }}
{{- end }}
{{- end }}

{{- define "countersign.args.store" -}}
{{- with .Values.issuer.store }}
{{- if eq .type "Embedded" }}
- --store-file=/var/lib/countersign/store.redb
{{- else if eq .type "Shared" }}
- --store-url={{ .url }}
{{- with .username }}
- --store-username={{ . }}
{{- end }}
{{- if .passwordSecret.name }}
- --store-password-file=/etc/countersign/store/password
{{- end }}
{{- if or .ca.configMapName .ca.secretName }}
- --store-ca-file=/etc/countersign/store/ca.crt
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The store's volumes: its file, or what a Redis is reached with. */}}
{{- define "countersign.store.volumes" -}}
{{- with .Values.issuer.store }}
{{- if .claimName }}
- {name: store, persistentVolumeClaim: {claimName: {{ .claimName }}}}
{{- else }}
{{- $sources := list }}
{{- with .passwordSecret }}
{{- if .name }}
{{- $sources = append $sources (dict "secret" (dict "name" .name "items" (list (dict "key" .key "path" "password")))) }}
{{- end }}
{{- end }}
{{- $items := list (dict "key" .ca.key "path" "ca.crt") }}
{{- with .ca.configMapName }}
{{- $sources = append $sources (dict "configMap" (dict "name" . "items" $items)) }}
{{- end }}
{{- with .ca.secretName }}
{{- $sources = append $sources (dict "secret" (dict "name" . "items" $items)) }}
{{- end }}
{{- if $sources }}
- {{ dict "name" "store" "projected" (dict "defaultMode" 0440 "sources" $sources) | toYaml | nindent 2 | trim }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "countersign.store.mounts" -}}
{{- if .Values.issuer.store.claimName }}
- {name: store, mountPath: /var/lib/countersign}
{{- else if include "countersign.store.volumes" . }}
- {name: store, mountPath: /etc/countersign/store, readOnly: true}
{{- end }}
{{- end }}

{{/* The rule by which an issuer whose egress is bounded reaches the Redis. */}}
{{- define "countersign.store.egress" -}}
{{- with .Values.issuer.store }}
{{- if eq .type "Shared" }}
{{- $port := splitList ":" (urlParse .url).host | last }}
{{- if not (regexMatch "^[0-9]+$" $port) }}{{ $port = "6379" }}{{ end }}
- ports: [{port: {{ $port }}, protocol: TCP}]
{{- with .peers }}
  to: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
