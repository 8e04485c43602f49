// Manifests the API tests apply: a small shop of our own, in YAML as a user would write it.

export const SHOP = `
apiVersion: v1
kind: Service
metadata:
  name: shelf
  labels: { app: shelf }
spec:
  selector: { app: shelf }
  ports:
    - { name: http, port: 80, targetPort: web }
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: shelf
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shelf-v1
  labels: { app: shelf, version: v1 }
spec:
  replicas: 2
  selector:
    matchLabels: { app: shelf, version: v1 }
  template:
    metadata:
      labels: { app: shelf, version: v1 }
    spec:
      serviceAccountName: shelf
      containers:
        - name: web
          image: example/shelf:1
          ports: [{ name: web, containerPort: 8080 }]
          env: [{ name: COLOUR, value: blue }]
        - name: log
          image: example/log:1
`

export const POD = `
apiVersion: v1
kind: Pod
metadata:
  name: walker
  labels: { app: walker }
spec:
  containers:
    - name: legs
      image: example/legs:2
`

/** A route of every served version of its kind. */
export function route(version: string, subset: string): string {
  return `
apiVersion: networking.istio.io/${version}
kind: VirtualService
metadata:
  name: shelf
spec:
  hosts: [shelf]
  http:
    - route:
        - destination: { host: shelf, subset: ${subset} }
          weight: 100
`
}

export const SPLIT = `
apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata:
  name: shelf
spec:
  service: shelf
  backends:
    - { service: shelf-v1, weight: 90 }
    - { service: shelf-v2, weight: 10 }
`

export const DEFINITION = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: boats.example.com
spec:
  group: example.com
  scope: Namespaced
  names: { plural: boats, kind: Boat, shortNames: [bt], categories: [fleet] }
  versions:
    - name: v1
      served: true
      storage: true
      subresources: { status: {} }
      additionalPrinterColumns:
        - { name: Crew, type: integer, jsonPath: .spec.crew }
        - { name: Ports, type: string, jsonPath: '.spec.ports' }
        - { name: Afloat, type: string, jsonPath: '.status.conditions[?(@.type=="Afloat")].status' }
        - { name: Hull, type: string, jsonPath: .spec.hull, priority: 1 }
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties:
                crew: { type: integer, description: How many row. }
                hull: { type: string }
                ports: { type: array, items: { type: string } }
            status: { type: object, x-kubernetes-preserve-unknown-fields: true }
`

export const BOAT = `
apiVersion: example.com/v1
kind: Boat
metadata:
  name: argo
spec:
  crew: 50
  hull: oak
  ports: [iolcus, colchis]
`
