{{/*
What the operator may do where resources are. Each rule is used: tests/chart compares them with what the API server's audit log says
that the operator asked for. The comments are rendered, so that whoever reviews the release reads them.
*/}}
{{- define "chargegateway.rights" -}}
# The resources themselves: read, never written.
- apiGroups: [chargegateway.io]
  resources: [chargegateways]
  verbs: [list, watch]
# Conditions and figures.
- apiGroups: [chargegateway.io]
  resources: [chargegateways/status]
  verbs: [patch]
# Children name their resource as the owner that waits for them. Clusters with the admission plugin
# OwnerReferencesPermissionEnforcement (OpenShift has it) allow that to whoever may set the owner's finalizers. None is set.
- apiGroups: [chargegateway.io]
  resources: [chargegateways/finalizers]
  verbs: [update]
# Gateway pods are watched and told their partitions by annotations. Their Deployment makes and deletes them.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
# Children. get: before one is made, whether somebody else has that name. create and patch: server-side apply. delete: one that
# is no longer wished.
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [controllerrevisions, deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
# Where the Prometheus operator is there; the rule does no harm where it is not.
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, list, watch, create, patch, delete]
# Secrets. The operator makes one per resource, the token of the gateways' internal API, and reads those that resources name
# (passwords and certificates of Kafka and Redis): it asks for these by name, but nobody knows the names beforehand, so the right
# is one to all Secrets here. watchNamespaces bounds it to the namespaces with gateways.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch, delete]
# The plan, who serves which partitions, is replaced as a whole, and only the version that was read.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [update]
# What people should look at. Repeats are counted in one Event.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
