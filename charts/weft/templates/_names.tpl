{{/* Labels of every object; the release's own first, so that none of the rest can replace them. */}}
{{- define "weft.labels" -}}
app.kubernetes.io/part-of: weft
app.kubernetes.io/name: weft
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "weft.image" -}}
{{- with .Values.image.digest -}}
{{ $.Values.image.repository }}@{{ . }}
{{- else -}}
{{ $.Values.image.repository }}:{{ $.Values.image.tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Subject of a service account: (list $ "weft-agent") */}}
{{- define "weft.account" -}}
{ kind: ServiceAccount, namespace: {{ (index . 0).Release.Namespace }}, name: {{ index . 1 }} }
{{- end }}

{{/* A table of settings as flags. Numbers come from values as floats: int64 keeps 1048576 from being 1.048576e+06. */}}
{{- define "weft.flags" -}}
{{- range $name, $value := . }}
- {{ printf "--%s=%s" $name (ternary ($value | int64 | toString) ($value | toString) (kindIs "float64" $value)) | quote }}
{{- end }}
{{- end }}

{{/* Annotations that Prometheus' common scrape configuration goes by: (list $ port) */}}
{{- define "weft.scraped" -}}
{{- if (index . 0).Values.monitoring.scrapeAnnotations -}}
prometheus.io/scrape: 'true'
prometheus.io/port: {{ index . 1 | int64 | toString | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- end }}

{{/* Subjects of RBAC; users and groups are of its own API group. */}}
{{- define "weft.subjects" -}}
{{- range . }}
- kind: {{ .kind }}
  name: {{ .name | quote }}
  {{- if eq .kind "ServiceAccount" }}
  namespace: {{ required "readers: a ServiceAccount has a namespace" .namespace }}
  {{- else }}
  apiGroup: rbac.authorization.k8s.io
  {{- end }}
{{- end }}
{{- end }}
