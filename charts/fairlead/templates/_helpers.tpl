{{- define "fairlead.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "fairlead.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "fairlead.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "fairlead.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "fairlead.agentName" -}}
{{- include "fairlead.fullname" . }}-agent
{{- end -}}

{{- define "fairlead.watcherName" -}}
{{- include "fairlead.fullname" . }}-watcher
{{- end -}}

{{- define "fairlead.agentServiceAccount" -}}
{{- default (include "fairlead.agentName" .) .Values.serviceAccount.agentName -}}
{{- end -}}

{{- define "fairlead.watcherServiceAccount" -}}
{{- default (include "fairlead.watcherName" .) .Values.serviceAccount.watcherName -}}
{{- end -}}

{{/* Of a list (root, component). */}}
{{- define "fairlead.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "fairlead.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "fairlead.labels" -}}
{{- $root := index . 0 -}}
{{ include "fairlead.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "fairlead.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{/* Where the program that asks the API server finds it. */}}
{{- define "fairlead.apiServerEnv" -}}
- name: KUBERNETES_SERVICE_HOST
  value: {{ .Values.apiServer.host | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ .Values.apiServer.port | quote }}
{{- end -}}

{{/* What the schema cannot say. */}}
{{- define "fairlead.validate" -}}
{{- if not .Values.apiServer.host -}}
{{- fail "apiServer.host: has to be set to an address of the API server that every node reaches without the Service `kubernetes`, which works only once Fairlead does" -}}
{{- end -}}
{{- if and (eq .Values.mode "watchers") (not .Values.watcher.addresses) -}}
{{- fail "watcher.addresses: has to be set with mode watchers, to HOST:PORT of each watcher as agents reach it, such as the control plane's nodes with port 10270" -}}
{{- end -}}
{{- if and .Values.feed.tls.requireNodeName (not .Values.feed.tls.agentVolume) -}}
{{- fail "feed.tls.requireNodeName: needs feed.tls.agentVolume, since the agents' common Secret names no node" -}}
{{- end -}}
{{- end -}}
