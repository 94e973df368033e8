{{/* The pod of a role, and what it is made of. */}}

{{/* The image of a role. Takes root, role and, where something precedes the role's, image. */}}
{{- define "countersign.image" -}}
{{- $image := merge (dict) (default dict .image) (index .root.Values .role).image .root.Values.image }}
{{- with $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .root.Chart.AppVersion $image.tag }}{{ end }}
{{- end }}

{{/* Spread constraints; without a labelSelector the role's own pods are meant. */}}
{{- define "countersign.spread" -}}
{{- $own := dict "labelSelector" (dict "matchLabels" (include "countersign.selector" . | fromYaml)) }}
{{- range (index .root.Values .role).topologySpreadConstraints }}
- {{ toYaml (merge (dict) . $own) | nindent 2 | trim }}
{{- end }}
{{- end }}

{{/* What the API server knows the pod by, where client libraries look for it; the ServiceAccount's own is never mounted. */}}
{{- define "countersign.token.volume" -}}
- name: api-access
  projected:
    defaultMode: 0440
    sources:
    - serviceAccountToken: {path: token, expirationSeconds: 3607}
    - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
    - downwardAPI: {items: [{path: namespace, fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}]}
{{- end }}

{{- define "countersign.volumes" -}}
{{- $values := index .root.Values .role }}
{{- include "countersign.token.volume" . }}
{{- with include "countersign.clientCa.volume" . }}
- {{ nindent 2 . | trim }}
{{- end }}
{{- if eq .role "issuer" }}
{{- include "countersign.store.volumes" .root }}
{{- with include "countersign.clientKeys.volume" .root }}
- {{ nindent 2 . | trim }}
{{- end }}
{{- end }}
{{- if eq .role "controller" }}
{{- with include "countersign.ca.volume" .root }}
- {{ nindent 2 . | trim }}
{{- end }}
{{- else }}
{{- /* Never optional: the pod waits, and the kubelet looks for it every few seconds; of an optional one it would look once a minute. */}}
{{- with include "countersign.tls.secret" . }}
- {name: tls, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end }}
{{- end }}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "countersign.mounts" -}}
{{- $values := index .root.Values .role }}
- {name: api-access, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- if include "countersign.clientCa.volume" . }}
- {name: client-ca, mountPath: /etc/countersign/client-ca, readOnly: true}
{{- end }}
{{- if eq .role "issuer" }}
{{- include "countersign.store.mounts" .root }}
{{- if include "countersign.clientKeys.volume" .root }}
- {name: client-keys, mountPath: /etc/countersign/client-keys, readOnly: true}
{{- end }}
{{- end }}
{{- if eq .role "controller" }}
{{- if include "countersign.ca.volume" .root }}
- {name: ca, mountPath: /etc/countersign/ca, readOnly: true}
{{- end }}
{{- else if include "countersign.tls.secret" . }}
- {name: tls, mountPath: /etc/countersign/tls, readOnly: true}
{{- end }}
{{- with $values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "countersign.container" -}}
{{- $values := index .root.Values .role -}}
name: {{ .role }}
image: {{ include "countersign.image" . }}
imagePullPolicy: {{ default .root.Values.image.pullPolicy $values.image.pullPolicy }}
args:
- {{ .role }}
{{- include "countersign.args.common" . }}
{{- include (printf "countersign.args.%s" .role) . }}
{{- with $values.extraArgs }}
{{ toYaml . }}
{{- end }}
env:
- {name: POD_NAME, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
ports:
{{- include "countersign.ports" . }}
livenessProbe:
  httpGet: {path: /livez, port: admin}
  {{- toYaml $values.livenessProbe | nindent 2 }}
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  {{- toYaml $values.readinessProbe | nindent 2 }}
resources: {{- toYaml $values.resources | nindent 2 }}
securityContext: {{- toYaml $values.containerSecurityContext | nindent 2 }}
volumeMounts:
{{- include "countersign.mounts" . }}
{{- end }}

{{/* The spec of a role's pods. Takes root and role. */}}
{{- define "countersign.pod" -}}
{{- $root := .root }}
{{- $values := index $root.Values .role -}}
serviceAccountName: {{ include "countersign.serviceAccount" . }}
automountServiceAccountToken: false
# A Service named like us would put its address into our COUNTERSIGN_* variables.
enableServiceLinks: false
# The delay, 20 s to finish what is in hand, and what goes with the process: its Lease.
terminationGracePeriodSeconds: {{ add $values.shutdownDelaySeconds 25 }}
securityContext: {{- toYaml $values.securityContext | nindent 2 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 0 }}
{{- end }}
{{- with default $root.Values.priorityClassName $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with default $root.Values.nodeSelector $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- with include "countersign.spread" . }}
topologySpreadConstraints: {{- . }}
{{- end }}
{{- with $values.hostAliases }}
hostAliases: {{- toYaml . | nindent 0 }}
{{- end }}
containers:
- {{ include "countersign.container" . | nindent 2 | trim }}
{{- with $values.extraContainers }}
{{ toYaml . }}
{{- end }}
volumes:
{{- include "countersign.volumes" . | nindent 0 }}
{{- end }}
