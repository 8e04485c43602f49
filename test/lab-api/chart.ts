// A small chart of the tests' own, written to a folder: the kinds that a chart for a cluster's nodes needs, but no pods.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const DEFINITION = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: kites.example.com }
spec:
  group: example.com
  scope: Namespaced
  names: { plural: kites, kind: Kite }
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [colour]
              properties:
                colour: { type: string, enum: [red, blue] }
                tails: { type: integer, minimum: 0, default: 2 }
`

const OBJECTS = `
apiVersion: v1
kind: ServiceAccount
metadata: { name: {{ .Release.Name }}, labels: { release: {{ .Release.Name }} } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: {{ .Release.Name }} }
data:
  colour: {{ .Values.colour }}
{{- if .Values.extra }}
  extra: {{ .Values.extra | quote }}
{{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: {{ .Release.Name }} }
rules:
  - { apiGroups: [''], resources: [pods, namespaces], verbs: [get, list, watch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: {{ .Release.Name }} }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ .Release.Name }} }
subjects: [{ kind: ServiceAccount, name: {{ .Release.Name }}, namespace: {{ .Release.Namespace }} }]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: {{ .Release.Name }} }
spec: { minAvailable: 1, selector: { matchLabels: { app: {{ .Release.Name }} } } }
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: { name: {{ .Release.Name }} }
value: 1000
description: {{ .Values.colour }}
---
apiVersion: v1
kind: Service
metadata: { name: {{ .Release.Name }} }
spec:
  selector: { app: {{ .Release.Name }} }
  ports:
    - { name: http, port: 80, targetPort: 8080 }
{{- if .Values.extra }}
    - { name: extra, port: 81, targetPort: 8081 }
{{- end }}
---
apiVersion: example.com/v1
kind: Kite
metadata: { name: {{ .Release.Name }} }
spec: { colour: {{ .Values.colour }} }
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: { name: {{ .Release.Name }} }
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - { apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps] }
  matchConditions:
    - { name: guarded, expression: "object.metadata.name.startsWith('guarded')" }
  validations:
    - expression: "!('forbidden' in object.data)"
      message: nobody may say forbidden
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: { name: {{ .Release.Name }} }
spec: { policyName: {{ .Release.Name }}, validationActions: [Deny] }
`

const HOOK = `
apiVersion: batch/v1
kind: Job
metadata: { name: {{ .Release.Name }}-gone, annotations: { helm.sh/hook: pre-delete } }
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{ name: main, image: example/tidy:1 }]
`

/** Writes the chart into `folder`. */
export function writeChart(folder: string): void {
  for (const part of ['crds', 'templates']) mkdirSync(join(folder, part), { recursive: true })
  const files = {
    'Chart.yaml': 'apiVersion: v2\nname: kite\nversion: 0.1.0\nappVersion: "1"\n',
    'values.yaml': 'colour: red\nextra: ""\n',
    'crds/kites.yaml': DEFINITION,
    'templates/objects.yaml': OBJECTS,
    'templates/hook.yaml': HOOK,
  }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
}
