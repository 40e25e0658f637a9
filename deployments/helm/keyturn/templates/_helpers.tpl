{{/* What the release's objects are called: keyturn, or RELEASE-keyturn. */}}
{{- define "keyturn.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What all pods of the release have in common, whatever its version. */}}
{{- define "keyturn.instance" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "keyturn.labels" -}}
{{ include "keyturn.instance" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* One component's pods. Takes root and name. */}}
{{- define "keyturn.selector" -}}
{{ include "keyturn.instance" .root }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{/* Kubernetes' names have no capitals: onCall is on-call. */}}
{{- define "keyturn.component" -}}
{{- kebabcase . -}}
{{- end -}}

{{- define "keyturn.metadata" -}}
name: {{ include "keyturn.fullname" .root }}-{{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "keyturn.labels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{/* The work pool of the workspace. */}}
{{- define "keyturn.pool" -}}
{{- if eq .Values.workspace "default" }}keyturn{{ else }}keyturn-{{ .Values.workspace }}{{ end -}}
{{- end -}}

{{/* A worker's page: it is well for 30 times as long as it waits between two questions for work. While the Prefect
server is away it is not, and then a run that is at work is not ended for it: only after ten minutes more. */}}
{{- define "keyturn.workerProbes" -}}
startupProbe:
  httpGet: {port: health, path: /health}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {port: health, path: /health}
  periodSeconds: 30
  timeoutSeconds: 5
  failureThreshold: 20
readinessProbe:
  httpGet: {port: health, path: /health}
  periodSeconds: 10
  timeoutSeconds: 5
{{- end -}}

{{- define "keyturn.serveProbes" -}}
startupProbe:
  httpGet: {scheme: HTTPS, port: https, path: /healthz}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {scheme: HTTPS, port: https, path: /healthz}
  periodSeconds: 20
  timeoutSeconds: 5
readinessProbe:
  httpGet: {scheme: HTTPS, port: https, path: /readyz}
  periodSeconds: 10
  timeoutSeconds: 5
{{- end -}}

{{/*
A pod. Takes root, name, values, args, and what it has of: prefect (the server's login), hub, probes, port (a number
and its name), env (more variables), state (a place on a disk of its own), claim (that disk's claim, where no
StatefulSet makes it; none: in memory), metrics (a worker's numbers), tls, audit, recovery, grace, once.
*/}}
{{- define "keyturn.pod" -}}
{{- $root := .root -}}
{{- $values := .values -}}
metadata:
  labels:
    {{- include "keyturn.selector" (dict "root" $root "name" .name) | nindent 4 }}
    app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A change of these begins the pods anew.
    checksum/environment: {{ include "keyturn.environment" $root | sha256sum }}
    checksum/prefect: {{ include "keyturn.prefect" $root | sha256sum }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "keyturn.fullname" $root }}-{{ .name }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  restartPolicy: {{ if .once }}Never{{ else }}Always{{ end }}
  terminationGracePeriodSeconds: {{ .grace }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: {{ $values.user }}
    runAsGroup: {{ $values.user }}
    fsGroup: {{ $values.user }}
    # Else each start would let the group read what is this user's alone.
    fsGroupChangePolicy: OnRootMismatch
    {{- if .audit }}
    supplementalGroups: [{{ $values.auditGroup }}]
    {{- end }}
    seccompProfile: {type: RuntimeDefault}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if not .once }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "keyturn.selector" (dict "root" $root "name" .name) | nindent 10 }}
  {{- end }}
  containers:
    - name: {{ .name }}
      image: {{ $root.Values.image.repository }}@{{ $root.Values.image.digest }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args:
        {{- toYaml .args | nindent 8 }}
      envFrom:
        - configMapRef: {name: {{ include "keyturn.fullname" $root }}-environment}
        {{- if .prefect }}
        - configMapRef: {name: {{ include "keyturn.fullname" $root }}-prefect}
        {{- end }}
      env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        {{- if .hub }}
        - {name: KEYTURN_HUB_AUTH, value: kubernetes}
        - {name: KEYTURN_HUB_AUTH_MOUNT_PATH, value: {{ $root.Values.hub.mount | quote }}}
        - {name: KEYTURN_HUB_AUTH_AUDIENCE, value: {{ $root.Values.hub.audience | quote }}}
        - {name: KEYTURN_HUB_AUTH_ROLE, value: {{ $values.hubRole | quote }}}
        - {name: KEYTURN_HUB_AUTH_TOKEN_PATH, value: /var/run/secrets/hub/token}
        - {name: PGUSER, value: {{ $values.ledgerUser | quote }}}
        - {name: PGPASSFILE, value: /run/keyturn/login/ledger.pgpass}
        {{- end }}
        {{- if $root.Values.failureUrlSecret }}
        - {name: KEYTURN_FAILURE_URL_FILE, value: /run/keyturn/login/failure.url}
        {{- end }}
        {{- if .metrics }}
        - {name: KEYTURN_WORKER_METRICS, value: "0.0.0.0:2775"}
        - {name: KEYTURN_WORKER_METRICS_CERT, value: /run/keyturn/tls/tls.crt}
        - {name: KEYTURN_WORKER_METRICS_KEY, value: /run/keyturn/tls/tls.key}
        {{- end }}
        {{- if or .tls .metrics }}
        - {name: KEYTURN_METRICS_TOKEN_FILE, value: /run/keyturn/login/metrics.token}
        {{- end }}
        {{- range $name, $value := .env }}
        - {name: {{ $name }}, value: {{ $value | quote }}}
        {{- end }}
      {{- if .port }}
      ports:
        - {name: {{ .portName }}, containerPort: {{ .port }}}
        {{- if .metrics }}
        - {name: metrics, containerPort: 2775}
        {{- end }}
      {{- end }}
      {{- if .probes }}
      {{- include .probes $root | nindent 6 }}
      {{- end }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        privileged: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: ca, mountPath: /etc/keyturn/ca, readOnly: true}
        - {name: catalogue, mountPath: /etc/keyturn/catalogue, readOnly: true}
        - {name: policy, mountPath: /etc/keyturn/policy, readOnly: true}
        - {name: login, mountPath: /run/keyturn/login, readOnly: true}
        {{- if .hub }}
        - {name: hub-login, mountPath: /var/run/secrets/hub, readOnly: true}
        {{- end }}
        {{- if $values.kubernetesApi }}
        - {name: kubernetes-api, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
        {{- end }}
        {{- if .prefect }}
        - {name: prefect-home, mountPath: /var/lib/keyturn/prefect}
        {{- end }}
        {{- if .state }}
        - {name: state, mountPath: {{ .state }}}
        {{- end }}
        {{- if or .tls .metrics }}
        - {name: tls, mountPath: /run/keyturn/tls, readOnly: true}
        {{- end }}
        {{- if and .recovery $root.Values.recoveryKey }}
        - {name: recovery-key, mountPath: /etc/keyturn/recovery, readOnly: true}
        {{- end }}
        {{- if and .audit $values.auditLogs }}
        - {name: audit-logs, mountPath: /var/log/hub, readOnly: true}
        {{- end }}
  volumes:
    # In memory: what is in it gets on no disk.
    - name: tmp
      emptyDir: {medium: Memory, sizeLimit: 64Mi}
    - name: ca
      configMap: {name: {{ $root.Values.caConfigMap }}}
    - name: catalogue
      {{- toYaml $root.Values.catalogue | nindent 6 }}
    - name: policy
      {{- toYaml $root.Values.policy | nindent 6 }}
    - name: login
      projected:
        defaultMode: 0440
        sources:
          {{- if .hub }}
          - secret: {name: {{ $values.ledgerSecret }}, items: [{key: pgpass, path: ledger.pgpass}]}
          {{- end }}
          {{- if .prefect }}
          - secret: {name: {{ $root.Values.prefect.passwordSecret }}, items: [{key: password, path: prefect.password}]}
          {{- end }}
          {{- with $root.Values.failureUrlSecret }}
          - secret: {name: {{ . }}, items: [{key: url, path: failure.url}]}
          {{- end }}
          {{- if or .tls .metrics }}
          # Without it there are no numbers, and all else runs.
          - secret: {name: {{ $root.Values.metricsTokenSecret }}, optional: true, items: [{key: token, path: metrics.token}]}
          {{- end }}
    {{- if .hub }}
    - name: hub-login
      projected:
        defaultMode: 0440
        sources:
          - serviceAccountToken: {audience: {{ $root.Values.hub.audience | quote }}, expirationSeconds: 600, path: token}
    {{- end }}
    {{- if $values.kubernetesApi }}
    - name: kubernetes-api
      projected:
        defaultMode: 0440
        sources:
          - serviceAccountToken: {expirationSeconds: 3600, path: token}
          - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
          - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
    {{- end }}
    {{- if .prefect }}
    - name: prefect-home
      emptyDir: {medium: Memory, sizeLimit: 64Mi}
    {{- end }}
    {{- if eq (default "" .claim) "none" }}
    - name: state
      emptyDir: {medium: Memory, sizeLimit: 16Mi}
    {{- else if .claim }}
    - name: state
      persistentVolumeClaim: {claimName: {{ .claim }}}
    {{- end }}
    {{- if or .tls .metrics }}
    - name: tls
      secret: {secretName: {{ $root.Values.tlsSecret }}, defaultMode: 0440}
    {{- end }}
    {{- if and .recovery $root.Values.recoveryKey }}
    - name: recovery-key
      {{- toYaml $root.Values.recoveryKey | nindent 6 }}
    {{- end }}
    {{- if and .audit $values.auditLogs }}
    - name: audit-logs
      {{- toYaml $values.auditLogs | nindent 6 }}
    {{- end }}
{{- end -}}

{{/* A disk of one's own, as a claim's spec has it. */}}
{{- define "keyturn.claim" -}}
accessModes: [{{ default "ReadWriteOnce" .accessMode }}]
{{- with .storageClassName }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests: {storage: {{ .size }}}
{{- end -}}

{{/* What a worker is started with. Takes root, values and queue. */}}
{{- define "keyturn.workerArgs" -}}
- prefect
- worker
- start
- --pool={{ include "keyturn.pool" .root }}
- --work-queue={{ .queue }}
- --type=keyturn
- --name=$(POD_NAME)
- --with-healthcheck
{{- if .values.limit }}
- --limit={{ .values.limit }}
{{- end }}
{{- end -}}
