{{- define "kite-plugins.labels" -}}
app.kubernetes.io/part-of: kite-plugins
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* An image's reference, of a list (context, image values). */}}
{{- define "kite-plugins.image" -}}
{{- $context := index . 0 -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $context.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "kite-plugins.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "kite-plugins.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* Refuses values that would lay the plugins beside the keys. */}}
{{- define "kite-plugins.check" -}}
{{- if eq .Values.systemNamespace .Values.pluginsNamespace -}}
{{- fail "systemNamespace and pluginsNamespace must differ: the system's keys must not lie beside the plugins" -}}
{{- end -}}
{{- if or (eq .Release.Namespace .Values.systemNamespace) (eq .Release.Namespace .Values.pluginsNamespace) -}}
{{- fail (printf "the chart makes the namespace %s itself: install the release from another one, such as `--namespace default`" .Release.Namespace) -}}
{{- end -}}
{{- $bundle := .Values.plugins.extraCABundle -}}
{{- if and $bundle.configMap $bundle.secret -}}
{{- fail "plugins.extraCABundle comes from a configMap or a secret, not from both" -}}
{{- end -}}
{{- $proxies := .Values.gateway.authenticatingProxies -}}
{{- if ne (empty (include "kite-plugins.caVolume" $proxies)) (empty $proxies.names) -}}
{{- fail "gateway.authenticatingProxies needs a CA, by configMap or secret, and the names of the proxies' certificates" -}}
{{- end -}}
{{- end }}

{{- /* Where a CA comes from: nothing, a ConfigMap or a Secret, of which only ca.crt is mounted. */}}
{{- define "kite-plugins.caVolume" -}}
{{- if and .configMap .secret -}}
{{- fail "a CA of client certificates comes from a configMap or a secret, not from both" -}}
{{- end -}}
{{- if .configMap -}}
configMap: {name: {{ .configMap }}, items: [{key: ca.crt, path: ca.crt}]}
{{- else if .secret -}}
secret: {secretName: {{ .secret }}, defaultMode: 0440, items: [{key: ca.crt, path: ca.crt}]}
{{- end -}}
{{- end }}
