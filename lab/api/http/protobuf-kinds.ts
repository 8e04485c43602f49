// The messages of Kubernetes' protocol buffers encoding that newer kubectls send: `kubectl create` of built-in kinds.
// Pure data. Source: the generated.proto of each API group, release 1.32. A field that is not here is refused, not lost.
//
// One field a word: NAME=NUMBER:TYPE. `*` repeats; `?` is optional in the API's sense: kept although zero or empty.
// Types: string (also when none is named), int, bool, bytes, time, quantity, intOrString, map (of strings), bytesMap,
// listMap (of lists of strings), quantityMap, or a message of this table.

const MESSAGES: Readonly<Record<string, string>> = {
  ObjectMeta: `name=1 generateName=2 namespace=3 selfLink=4 uid=5 resourceVersion=6 generation=7:int
    creationTimestamp=8:time deletionTimestamp=9:time deletionGracePeriodSeconds=10:int? labels=11:map
    annotations=12:map ownerReferences=13:OwnerReference* finalizers=14*`,
  OwnerReference: 'kind=1 name=3 uid=4 apiVersion=5 controller=6:bool? blockOwnerDeletion=7:bool?',
  LabelSelector: 'matchLabels=1:map matchExpressions=2:Expression*',
  Expression: 'key=1 operator=2 values=3*',
  ObjectReference: 'kind=1 namespace=2 name=3 uid=4 apiVersion=5 resourceVersion=6 fieldPath=7',
  LocalReference: 'name=1',
  DeleteOptions: `gracePeriodSeconds=1:int? preconditions=2:Preconditions orphanDependents=3:bool?
    propagationPolicy=4? dryRun=5*`,
  Preconditions: 'uid=1? resourceVersion=2?',

  Namespace: 'metadata=1:ObjectMeta spec=2:NamespaceSpec status=3:NamespaceStatus',
  NamespaceSpec: 'finalizers=1*',
  NamespaceStatus: 'phase=1',
  ConfigMap: 'metadata=1:ObjectMeta data=2:map binaryData=3:bytesMap immutable=4:bool?',
  Secret: 'metadata=1:ObjectMeta data=2:bytesMap type=3 stringData=4:map immutable=5:bool?',
  ServiceAccount: `metadata=1:ObjectMeta secrets=2:ObjectReference* imagePullSecrets=3:LocalReference*
    automountServiceAccountToken=4:bool?`,
  Binding: 'metadata=1:ObjectMeta target=2:ObjectReference',
  Eviction: 'metadata=1:ObjectMeta deleteOptions=2:DeleteOptions',

  Service: 'metadata=1:ObjectMeta spec=2:ServiceSpec status=3:ServiceStatus',
  ServiceSpec: `ports=1:ServicePort* selector=2:map clusterIP=3 type=4 externalIPs=5* sessionAffinity=7 loadBalancerIP=8
    loadBalancerSourceRanges=9* externalName=10 externalTrafficPolicy=11 healthCheckNodePort=12:int
    publishNotReadyAddresses=13:bool ipFamilyPolicy=17? clusterIPs=18* ipFamilies=19*
    allocateLoadBalancerNodePorts=20:bool? loadBalancerClass=21? internalTrafficPolicy=22? trafficDistribution=23?`,
  ServicePort: 'name=1 protocol=2 port=3:int targetPort=4:intOrString nodePort=5:int appProtocol=6?',
  ServiceStatus: 'loadBalancer=1:LoadBalancer',
  LoadBalancer: '',

  Deployment: 'metadata=1:ObjectMeta spec=2:DeploymentSpec status=3:DeploymentStatus',
  DeploymentSpec: `replicas=1:int? selector=2:LabelSelector template=3:PodTemplate strategy=4:Strategy
    minReadySeconds=5:int revisionHistoryLimit=6:int? paused=7:bool progressDeadlineSeconds=9:int?`,
  Strategy: 'type=1 rollingUpdate=2:RollingUpdate',
  RollingUpdate: 'maxUnavailable=1:intOrString maxSurge=2:intOrString',
  DeploymentStatus: `observedGeneration=1:int replicas=2:int updatedReplicas=3:int availableReplicas=4:int
    unavailableReplicas=5:int readyReplicas=7:int collisionCount=8:int?`,
  Job: 'metadata=1:ObjectMeta spec=2:JobSpec status=3:JobStatus',
  JobSpec: `parallelism=1:int? completions=2:int? activeDeadlineSeconds=3:int? selector=4:LabelSelector
    manualSelector=5:bool? template=6:PodTemplate backoffLimit=7:int? ttlSecondsAfterFinished=8:int?
    completionMode=9? suspend=10:bool?`,
  JobStatus: 'active=4:int succeeded=5:int failed=6:int completedIndexes=7',

  Pod: 'metadata=1:ObjectMeta spec=2:PodSpec status=3:PodStatus',
  PodStatus: 'phase=1 message=3 reason=4 hostIP=5 podIP=6 qosClass=9 nominatedNodeName=11 resize=14',
  PodTemplate: 'metadata=1:ObjectMeta spec=2:PodSpec',
  PodSpec: `containers=2:Container* restartPolicy=3 terminationGracePeriodSeconds=4:int? activeDeadlineSeconds=5:int?
    dnsPolicy=6 nodeSelector=7:map serviceAccountName=8 serviceAccount=9 nodeName=10 hostNetwork=11:bool hostPID=12:bool
    hostIPC=13:bool imagePullSecrets=15:LocalReference* hostname=16 subdomain=17 schedulerName=19
    initContainers=20:Container* automountServiceAccountToken=21:bool? priorityClassName=24 priority=25:int?
    shareProcessNamespace=27:bool? runtimeClassName=29? enableServiceLinks=30:bool? preemptionPolicy=31?
    setHostnameAsFQDN=35:bool?`,
  Container: `name=1 image=2 command=3* args=4* workingDir=5 ports=6:ContainerPort* env=7:EnvVar* resources=8:Resources
    volumeMounts=9:VolumeMount* terminationMessagePath=13 imagePullPolicy=14 stdin=16:bool stdinOnce=17:bool tty=18:bool
    terminationMessagePolicy=20`,
  ContainerPort: 'name=1 hostPort=2:int containerPort=3:int protocol=4 hostIP=5',
  EnvVar: 'name=1 value=2 valueFrom=3:EnvVarSource',
  EnvVarSource: 'fieldRef=1:FieldReference configMapKeyRef=3:KeyReference secretKeyRef=4:KeyReference',
  FieldReference: 'apiVersion=1 fieldPath=2',
  KeyReference: 'reference=1:LocalReference key=2 optional=3:bool?',
  Resources: 'limits=1:quantityMap requests=2:quantityMap',
  VolumeMount: 'name=1 readOnly=2:bool mountPath=3 subPath=4 mountPropagation=5? subPathExpr=6',
  TokenRequest: 'metadata=1:ObjectMeta spec=2:TokenRequestSpec status=3:TokenRequestStatus',
  TokenRequestSpec: 'audiences=1* boundObjectRef=3:BoundReference expirationSeconds=4:int?',
  TokenRequestStatus: 'token=1 expirationTimestamp=2:time',
  BoundReference: 'kind=1 apiVersion=2 name=3 uid=4',
  TokenReview: 'metadata=1:ObjectMeta spec=2:TokenReviewSpec status=3:TokenReviewStatus',
  TokenReviewSpec: 'token=1 audiences=2*',
  TokenReviewStatus: 'authenticated=1:bool user=2:UserInfo error=3 audiences=4*',
  SelfSubjectReview: 'metadata=1:ObjectMeta status=2:SelfSubjectReviewStatus',
  SelfSubjectReviewStatus: 'userInfo=1:UserInfo',
  StringList: 'items=1*',
  UserInfo: 'username=1 uid=2 groups=3* extra=4:listMap',

  SelfSubjectAccessReview: 'metadata=1:ObjectMeta spec=2:AccessReviewSpec status=3:AccessReviewStatus',
  SubjectAccessReview: 'metadata=1:ObjectMeta spec=2:AccessReviewSpec status=3:AccessReviewStatus',
  AccessReviewSpec: `resourceAttributes=1:ResourceAttributes nonResourceAttributes=2:PathAttributes user=3 groups=4*
    extra=5:listMap uid=6`,
  ResourceAttributes: 'namespace=1 verb=2 group=3 version=4 resource=5 subresource=6 name=7',
  PathAttributes: 'path=1 verb=2',
  AccessReviewStatus: 'allowed=1:bool reason=2 evaluationError=3 denied=4:bool',

  CertificateSigningRequest: 'metadata=1:ObjectMeta spec=2:SigningSpec status=3:SigningStatus',
  SigningSpec: `request=1:bytes username=2 uid=3 groups=4* usages=5* extra=6:listMap signerName=7
    expirationSeconds=8:int?`,
  SigningStatus: 'conditions=1:SigningCondition* certificate=2:bytes',
  SigningCondition: 'type=1 reason=2 message=3 lastUpdateTime=4:time lastTransitionTime=5:time status=6',

  Role: 'metadata=1:ObjectMeta rules=2:PolicyRule*',
  ClusterRole: 'metadata=1:ObjectMeta rules=2:PolicyRule* aggregationRule=3:AggregationRule',
  AggregationRule: 'clusterRoleSelectors=1:LabelSelector*',
  PolicyRule: 'verbs=1* apiGroups=2* resources=3* resourceNames=4* nonResourceURLs=5*',
  RoleBinding: 'metadata=1:ObjectMeta subjects=2:Subject* roleRef=3:RoleReference',
  ClusterRoleBinding: 'metadata=1:ObjectMeta subjects=2:Subject* roleRef=3:RoleReference',
  Subject: 'kind=1 apiGroup=2 name=3 namespace=4',
  RoleReference: 'apiGroup=1 kind=2 name=3',
}

/** The kinds that may come as protocol buffers, by their group. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  v1: ['Binding', 'ConfigMap', 'DeleteOptions', 'Namespace', 'Pod', 'Secret', 'Service', 'ServiceAccount'],
  'apps/v1': ['Deployment'],
  'authentication.k8s.io/v1': ['SelfSubjectReview', 'TokenRequest', 'TokenReview'],
  'authorization.k8s.io/v1': ['SelfSubjectAccessReview', 'SubjectAccessReview'],
  'batch/v1': ['Job'],
  'certificates.k8s.io/v1': ['CertificateSigningRequest'],
  'meta.k8s.io/v1': ['DeleteOptions'],
  'policy/v1': ['Eviction'],
  'rbac.authorization.k8s.io/v1': ['ClusterRole', 'ClusterRoleBinding', 'Role', 'RoleBinding'],
}

export interface FieldRule {
  readonly name: string
  readonly type: string
  readonly isRepeated: boolean
  /** Kept although zero or empty. */
  readonly isOptional: boolean
}

const RULES: ReadonlyMap<string, ReadonlyMap<number, FieldRule>> = new Map(
  Object.entries(MESSAGES).map(([message, text]) => [message, new Map(text.split(/\s+/).filter(Boolean).map(ruleOf))]),
)

function ruleOf(word: string): [number, FieldRule] {
  const match = /^(\w+)=(\d+)(?::(\w+))?([*?]?)$/.exec(word)
  if (!match) throw new Error(`no field: ${word}`)
  const [, name = '', number, type = 'string', mark] = match
  return [Number(number), { name, type, isRepeated: mark === '*', isOptional: mark === '?' }]
}

/** The fields of a message by number; undefined when the message is not in the table. */
export function fieldsOfMessage(message: string): ReadonlyMap<number, FieldRule> | undefined {
  return RULES.get(message)
}

/** The message of a kind that may come as protocol buffers. */
export function messageOfKind(apiVersion: string, kind: string): string | undefined {
  // Delete options carry the version of what they delete.
  if (kind === 'DeleteOptions') return kind
  return KINDS[apiVersion]?.includes(kind) ? kind : undefined
}
