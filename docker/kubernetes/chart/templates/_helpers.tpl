{{/* What stands on every object. */}}
{{- define "cairn.labels" -}}
app.kubernetes.io/name: cairn
app.kubernetes.io/part-of: cairn
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What stands on every pod. */}}
{{- define "cairn.podLabels" -}}
app.kubernetes.io/name: cairn
app.kubernetes.io/part-of: cairn
{{- end }}

{{/* Which pods a part has. Takes the part's name. */}}
{{- define "cairn.selector" -}}
app.kubernetes.io/name: cairn
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- define "cairn.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end }}

{{- define "cairn.secret" -}}
{{ .Values.existingSecret | default "cairn" }}
{{- end }}

{{- define "cairn.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Where a part's pods may run. Takes the part's values. */}}
{{- define "cairn.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Pods of one part keep apart. Takes the part's name. */}}
{{- define "cairn.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "cairn.selector" . | nindent 8 }}
{{- end }}

{{- define "cairn.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "cairn.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "cairn.live" -}}
httpGet:
  path: /health/live
  port: observe
periodSeconds: 10
timeoutSeconds: 5
failureThreshold: 6
{{- end }}

{{/* Settings as TOML. What JSON calls a string, number or list is one there too. */}}
{{- define "cairn.toml" -}}
{{- range $name, $value := . -}}
{{ $name }} = {{ toJson $value }}
{{ end }}
{{- end }}

{{/* The cairn.toml of each part: defaults, and what its `config` adds. */}}
{{- define "cairn.gatewayConfig" -}}
{{- $settings := dict
  "cluster_key_file" "/run/secrets/cairn/cluster.key"
  "join_token_file" "/run/secrets/cairn/join.token"
  "root_access_key_file" "/run/secrets/cairn/access-key"
  "root_secret_key_file" "/run/secrets/cairn/secret-key"
  "listen" "0.0.0.0:9000"
  "node_door" "0.0.0.0:9100"
  "door_name" (list "{address}:9100")
  "observe" "0.0.0.0:9102"
  "memory" "256MiB"
  "start_wait" "120s"
  "log_format" "json"
  "workers" (eq .Values.metadata "sqlite") }}
{{- if eq .Values.metadata "sqlite" }}{{ $_ := set $settings "metadata" "sqlite" }}
{{- else }}{{ $_ := set $settings "metadata_file" "/run/secrets/cairn-database/address" }}{{ end }}
{{- with .Values.scheme }}{{ $_ := set $settings "scheme" . }}{{ end }}
{{- include "cairn.toml" (mergeOverwrite $settings .Values.gateway.config) }}
{{- end }}

{{- define "cairn.workerConfig" -}}
{{- $settings := dict
  "metadata_file" "/run/secrets/cairn-database/address"
  "cluster_key_file" "/run/secrets/cairn/cluster.key"
  "join_token_file" "/run/secrets/cairn/join.token"
  "node_door" "0.0.0.0:9100"
  "door_name" (list "{address}:9100")
  "observe" "0.0.0.0:9102"
  "memory" "256MiB"
  "start_wait" "120s"
  "log_format" "json" }}
{{- with .Values.scheme }}{{ $_ := set $settings "scheme" . }}{{ end }}
{{- include "cairn.toml" (mergeOverwrite $settings .Values.worker.config) }}
{{- end }}

{{- define "cairn.nodeConfig" -}}
{{- $settings := dict
  "join_file" "/run/secrets/cairn/join.token"
  "observe" "0.0.0.0:9102"
  "log_format" "json" }}
{{- with .Values.nodes.capacity }}{{ $_ := set $settings "capacity" . }}{{ end }}
{{- include "cairn.toml" (mergeOverwrite $settings .Values.nodes.config) }}
{{- end }}
