{{/* Names and labels, in one place. */}}

{{/* One name for everything that the operator consists of, its Lease included: two releases in a namespace stay apart. */}}
{{- define "chargegateway.operator" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $release := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{- printf "%s-operator" ($release | trunc 54 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* Not app.kubernetes.io/name: chargegateway, which is the gateways'. */}}
{{- define "chargegateway.selector" -}}
app.kubernetes.io/name: chargegateway-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Of pods: a new version of the chart alone rolls none. */}}
{{- define "chargegateway.podLabels" -}}
{{ include "chargegateway.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: chargegateway
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "chargegateway.labels" -}}
{{ include "chargegateway.podLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "chargegateway.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "chargegateway.operator" .) -}}
{{- end -}}

{{/* Of every binding. */}}
{{- define "chargegateway.subjects" -}}
- kind: ServiceAccount
  name: {{ include "chargegateway.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* (list $ repository): the repository with the registry before it. */}}
{{- define "chargegateway.repository" -}}
{{- with (index . 0).Values.image.registry -}}{{ . }}/{{- end -}}
{{- index . 1 -}}
{{- end -}}

{{- define "chargegateway.operatorImage" -}}
{{- $image := .Values.image.operator -}}
{{- include "chargegateway.repository" (list . $image.repository) -}}
{{- if $image.digest -}}@{{ $image.digest }}{{- else -}}:{{ $image.tag | default .Chart.AppVersion }}{{- end -}}
{{- end -}}
