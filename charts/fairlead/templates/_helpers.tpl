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
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* "true" where watchers and agents show each other certificates. */}}
{{- define "fairlead.tls" -}}
{{- and (eq .Values.mode "watchers") .Values.feed.tls.enabled -}}
{{- end -}}

{{/* A name of no address, so that certificates that the chart makes outlast a change of addresses. */}}
{{- define "fairlead.serverName" -}}
{{- if .Values.feed.tls.serverName -}}
{{- .Values.feed.tls.serverName -}}
{{- else if ne .Values.feed.tls.certificates "provided" -}}
{{- include "fairlead.watcherName" . -}}
{{- end -}}
{{- end -}}

{{/* Whether only this machine reaches the address: "true" or nothing. */}}
{{- define "fairlead.loopback" -}}
{{- if or (hasPrefix "127." .) (eq . "[::1]") -}}true{{- end -}}
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
{{- range .Values.watcher.addresses -}}
{{- if regexMatch "\\.(svc|svc\\..*|cluster\\.local)\\.?:[0-9]+$" . -}}
{{- fail (printf "watcher.addresses: %s is a Service of the cluster, which works only once Fairlead does; name nodes, or a balancer outside" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.feed.tls.agentVolume (ne .Values.feed.tls.certificates "provided") -}}
{{- fail "feed.tls.agentVolume: goes with feed.tls.certificates provided only, since nobody would use the certificate that is made for the agents" -}}
{{- end -}}
{{- if .Values.monitoring.podMonitor.enabled -}}
{{- if include "fairlead.loopback" .Values.agent.metrics.address -}}
{{- fail "monitoring.podMonitor.enabled: needs agent.metrics.address to be one that Prometheus reaches, such as [::]" -}}
{{- end -}}
{{- if and (eq .Values.mode "watchers") (include "fairlead.loopback" .Values.watcher.metrics.address) -}}
{{- fail "monitoring.podMonitor.enabled: needs watcher.metrics.address to be one that Prometheus reaches, such as [::]" -}}
{{- end -}}
{{- end -}}
{{- end -}}
