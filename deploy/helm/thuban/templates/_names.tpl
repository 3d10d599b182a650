{{- define "thuban.name" -}}
{{- if contains "thuban" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-thuban" .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "thuban.selector" -}}
app.kubernetes.io/name: thuban
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "thuban.labels" -}}
{{ include "thuban.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* All addresses of the pod. */}}
{{- define "thuban.any" -}}
{{ if eq .Values.ipFamily "IPv6" }}[::]{{ else }}0.0.0.0{{ end }}
{{- end }}

{{/* The pod's own address, as part of an address with a port. */}}
{{- define "thuban.own" -}}
{{ if eq .Values.ipFamily "IPv6" }}[$(POD_IP)]{{ else }}$(POD_IP){{ end }}
{{- end }}

{{/* preStop, the drain of the doors, 10 s for what is to land, 5 s to close store and log, 2 s for threads, and 3 s of room; seconds. */}}
{{- define "thuban.grace" -}}
{{ add .Values.preStopSeconds (div (add .Values.drainTimeoutMs 999) 1000) 20 }}
{{- end }}
