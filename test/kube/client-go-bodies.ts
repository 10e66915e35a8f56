/** A request body, and the object that it holds. */
export interface ClientGoBody {
  readonly name: string;
  readonly hex: string;
  /** In its JSON form, without what is empty. */
  readonly object: { readonly apiVersion: string; readonly kind: string; readonly [field: string]: unknown };
}

/**
 * What the protobuf serializer of k8s.io/apimachinery 0.35.2 made of objects that set every field we read. They were
 * written in Go, so nothing here depends on our own list of field numbers.
 */
export const clientGoBodies: readonly ClientGoBody[] = [
  {
    name: 'Namespace as oc creates it',
    hex: [
      '6b3873000a0f0a02763112094e616d657370616365121c0a140a0464656d6f12001a0022002a0032003800420012001a020a',
      '001a002200',
    ].join(''),
    object: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'demo' } },
  },
  {
    name: 'Namespace with all of its metadata',
    hex: [
      '6b3873000a0f0a02763112094e616d65737061636512be010a88010a0464656d6f1202642d1a017822002a02753132013738',
      '03420808a5ebdcca0610004a0808a5ebdcca06100050005a050a0161120062060a01621201636a170a065365637265741a01',
      '73220275322a027631300038017201668a012c0a026f6312065570646174651a027631220808a5ebdcca0610003208466965',
      '6c647356313a040a027b7d4200120c0a0a6b756265726e657465731a230a0641637469766512190a01541204547275652208',
      '08a5ebdcca0610002a015232014d1a002200',
    ].join(''),
    object: {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: {
        name: 'demo',
        generateName: 'd-',
        namespace: 'x',
        uid: 'u1',
        resourceVersion: '7',
        generation: 3,
        creationTimestamp: '2026-01-02T03:04:05Z',
        deletionTimestamp: '2026-01-02T03:04:05Z',
        deletionGracePeriodSeconds: 0,
        labels: { a: '' },
        annotations: { b: 'c' },
        ownerReferences: [
          { apiVersion: 'v1', kind: 'Secret', name: 's', uid: 'u2', controller: false, blockOwnerDeletion: true },
        ],
        finalizers: ['f'],
      },
      spec: { finalizers: ['kubernetes'] },
      status: {
        phase: 'Active',
        conditions: [
          { type: 'T', status: 'True', lastTransitionTime: '2026-01-02T03:04:05Z', reason: 'R', message: 'M' },
        ],
      },
    },
  },
  {
    name: 'Secret',
    hex: [
      '6b3873000a0c0a027631120653656372657412350a110a017312001a0022002a0032003800420012050a0165120012070a01',
      '6b120200ff1a064f706171756522060a017012017128001a002200',
    ].join(''),
    object: {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 's' },
      immutable: false,
      data: { e: '', k: 'AP8=' },
      stringData: { p: 'q' },
      type: 'Opaque',
    },
  },
  {
    name: 'ConfigMap',
    hex: [
      '6b3873000a0f0a0276311209436f6e6669674d617012250a110a016312001a0022002a0032003800420012060a016b120176',
      '1a060a016212010120011a002200',
    ].join(''),
    object: {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'c' },
      immutable: true,
      data: { k: 'v' },
      binaryData: { b: 'AQ==' },
    },
  },
  {
    name: 'ServiceAccount',
    hex: [
      '6b3873000a140a027631120e536572766963654163636f756e74124c0a150a05726f626f7412001a0022002a003200380042',
      '00121b0a0653656372657412016e1a01732201752a0276313201313a0166120f0a0012001a017422002a0032003a001a030a',
      '017020001a002200',
    ].join(''),
    object: {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'robot' },
      secrets: [
        { kind: 'Secret', namespace: 'n', name: 's', uid: 'u', apiVersion: 'v1', resourceVersion: '1', fieldPath: 'f' },
        { name: 't' },
      ],
      imagePullSecrets: [{ name: 'p' }],
      automountServiceAccountToken: false,
    },
  },
  {
    name: 'ResourceQuota',
    hex: [
      '6b3873000a130a027631120d5265736f7572636551756f74611287010a110a017112001a0022002a0032003800420012550a',
      '0a0a0363707512030a01300a0f0a066d656d6f727912050a033147690a0c0a04706f647312040a023130120b5465726d696e',
      '6174696e671a1b0a190a0d5072696f72697479436c6173731202496e1a04686967681a1b0a0c0a04706f647312040a023130',
      '120b0a04706f647312030a01321a002200',
    ].join(''),
    object: {
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata: { name: 'q' },
      spec: {
        hard: { cpu: '0', memory: '1Gi', pods: '10' },
        scopes: ['Terminating'],
        scopeSelector: { matchExpressions: [{ scopeName: 'PriorityClass', operator: 'In', values: ['high'] }] },
      },
      status: { hard: { pods: '10' }, used: { pods: '2' } },
    },
  },
  {
    name: 'LimitRange',
    hex: [
      '6b3873000a100a027631120a4c696d697452616e6765126e0a110a016c12001a0022002a0032003800420012590a570a126f',
      '70656e73686966742e696f2f496d61676512100a0773746f7261676512050a033147691a0b0a0363707512040a02316d220a',
      '0a0363707512030a01322a0a0a0363707512030a0133320a0a0363707512030a01341a002200',
    ].join(''),
    object: {
      apiVersion: 'v1',
      kind: 'LimitRange',
      metadata: { name: 'l' },
      spec: {
        limits: [
          {
            type: 'openshift.io/Image',
            max: { storage: '1Gi' },
            min: { cpu: '1m' },
            default: { cpu: '2' },
            defaultRequest: { cpu: '3' },
            maxLimitRequestRatio: { cpu: '4' },
          },
        ],
      },
    },
  },
  {
    name: 'Event',
    hex: [
      '6b3873000a0b0a02763112054576656e74129a010a110a016512001a0022002a00320038004200121c0a0b496d6167655374',
      '7265616d12001a0361707022002a0032003a001a015222014d2a060a0163120168320808a5ebdcca0610003a0808a5ebdcca',
      '06100040024a075761726e696e67520b08a5ebdcca06108094ef3a5a0f0803120b08a5ebdcca06108094ef3a6201416a110a',
      '0012001a0372656c22002a0032003a00720272637a0272691a002200',
    ].join(''),
    object: {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: 'e' },
      involvedObject: { kind: 'ImageStream', name: 'app' },
      reason: 'R',
      message: 'M',
      source: { component: 'c', host: 'h' },
      firstTimestamp: '2026-01-02T03:04:05Z',
      lastTimestamp: '2026-01-02T03:04:05Z',
      count: 2,
      type: 'Warning',
      eventTime: '2026-01-02T03:04:05.123456Z',
      series: { count: 3, lastObservedTime: '2026-01-02T03:04:05.123456Z' },
      action: 'A',
      related: { name: 'rel' },
      reportingComponent: 'rc',
      reportingInstance: 'ri',
    },
  },
  {
    name: 'Event without anything',
    hex: [
      '6b3873000a0b0a02763112054576656e74123d0a110a016512001a0022002a00320038004200120e0a0012001a0022002a00',
      '32003a001a0022002a040a00120032003a0040004a005200620072007a001a002200',
    ].join(''),
    object: { apiVersion: 'v1', kind: 'Event', metadata: { name: 'e' } },
  },
  {
    name: 'Role',
    hex: [
      '6b3873000a240a1c726261632e617574686f72697a6174696f6e2e6b38732e696f2f76311204526f6c6512320a110a017212',
      '001a0022002a00320038004200121d0a036765740a046c69737412001a07736563726574732201732a022f781a002200',
    ].join(''),
    object: {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata: { name: 'r' },
      rules: [
        {
          verbs: ['get', 'list'],
          apiGroups: [''],
          resources: ['secrets'],
          resourceNames: ['s'],
          nonResourceURLs: ['/x'],
        },
      ],
    },
  },
  {
    name: 'ClusterRole',
    hex: [
      '6b3873000a2b0a1c726261632e617574686f72697a6174696f6e2e6b38732e696f2f7631120b436c7573746572526f6c6512',
      '2c0a120a02637212001a0022002a003200380042001a160a140a060a0161120162120a0a016b1202496e1a01761a002200',
    ].join(''),
    object: {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: 'cr' },
      aggregationRule: {
        clusterRoleSelectors: [
          { matchLabels: { a: 'b' }, matchExpressions: [{ key: 'k', operator: 'In', values: ['v'] }] },
        ],
      },
    },
  },
  {
    name: 'RoleBinding',
    hex: [
      '6b3873000a2b0a1c726261632e617574686f72697a6174696f6e2e6b38732e696f2f7631120b526f6c6542696e64696e6712',
      '8f010a120a02726212001a0022002a0032003800420012280a04557365721219726261632e617574686f72697a6174696f6e',
      '2e6b38732e696f1a03626f622200121f0a0e536572766963654163636f756e7412001a05726f626f74220464656d6f1a2e0a',
      '19726261632e617574686f72697a6174696f6e2e6b38732e696f120b436c7573746572526f6c651a04766965771a002200',
    ].join(''),
    object: {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: 'rb' },
      subjects: [
        { kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: 'bob' },
        { kind: 'ServiceAccount', name: 'robot', namespace: 'demo' },
      ],
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
    },
  },
  {
    name: 'ClusterRoleBinding',
    hex: [
      '6b3873000a320a1c726261632e617574686f72697a6174696f6e2e6b38732e696f2f76311212436c7573746572526f6c6542',
      '696e64696e67123d0a130a0363726212001a0022002a00320038004200120e0a0547726f757012001a016722001a160a0012',
      '0b436c7573746572526f6c651a0561646d696e1a002200',
    ].join(''),
    object: {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: 'crb' },
      subjects: [{ kind: 'Group', name: 'g' }],
      roleRef: { kind: 'ClusterRole', name: 'admin' },
    },
  },
  {
    name: 'DeleteOptions',
    hex: [
      '6b3873000a2d0a1c726261632e617574686f72697a6174696f6e2e6b38732e696f2f7631120d44656c6574654f7074696f6e',
      '73121c080012050a017512001800220a4261636b67726f756e642a03416c6c1a002200',
    ].join(''),
    object: {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'DeleteOptions',
      gracePeriodSeconds: 0,
      preconditions: { uid: 'u', resourceVersion: '' },
      orphanDependents: false,
      propagationPolicy: 'Background',
      dryRun: ['All'],
    },
  },
  {
    name: 'DeleteOptions without anything',
    hex: ['6b3873000a130a027631120d44656c6574654f7074696f6e7312001a002200'].join(''),
    object: { apiVersion: 'v1', kind: 'DeleteOptions' },
  },
  {
    name: 'SelfSubjectAccessReview of a resource',
    hex: [
      '6b3873000a320a17617574686f72697a6174696f6e2e6b38732e696f2f7631121753656c665375626a656374416363657373',
      '52657669657712650a100a0012001a0022002a0032003800420012470a450a016e12036765741a0167220276312a07736563',
      '726574733201783a017342110a03613d62120a0a01611202496e1a01624a120a03613d62120b0a016112064578697374731a',
      '08080012001a0020001a002200',
    ].join(''),
    object: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: {
        resourceAttributes: {
          namespace: 'n',
          verb: 'get',
          group: 'g',
          version: 'v1',
          resource: 'secrets',
          subresource: 'x',
          name: 's',
          fieldSelector: { rawSelector: 'a=b', requirements: [{ key: 'a', operator: 'In', values: ['b'] }] },
          labelSelector: { rawSelector: 'a=b', requirements: [{ key: 'a', operator: 'Exists' }] },
        },
      },
    },
  },
  {
    name: 'SelfSubjectAccessReview of an empty path',
    hex: [
      '6b3873000a320a17617574686f72697a6174696f6e2e6b38732e696f2f7631121753656c665375626a656374416363657373',
      '52657669657712240a100a0012001a0022002a00320038004200120612040a0012001a08080012001a0020001a002200',
    ].join(''),
    object: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { nonResourceAttributes: {} },
    },
  },
  {
    name: 'SubjectAccessReview',
    hex: [
      '6b3873000a2e0a17617574686f72697a6174696f6e2e6b38732e696f2f763112135375626a65637441636365737352657669',
      '6577124b0a100a0012001a0022002a00320038004200122b12090a022f7012036765741a01752201672201682a050a016512',
      '002a0b0a016b12060a01760a01773201311a0a08011201721a016520011a002200',
    ].join(''),
    object: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: {
        nonResourceAttributes: { path: '/p', verb: 'get' },
        user: 'u',
        groups: ['g', 'h'],
        extra: { e: [], k: ['v', 'w'] },
        uid: '1',
      },
      status: { allowed: true, denied: true, reason: 'r', evaluationError: 'e' },
    },
  },
  {
    name: 'LocalSubjectAccessReview',
    hex: [
      '6b3873000a330a17617574686f72697a6174696f6e2e6b38732e696f2f763112184c6f63616c5375626a6563744163636573',
      '7352657669657712240a110a0012001a016e22002a0032003800420012051a017532001a08080012001a0020001a002200',
    ].join(''),
    object: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'LocalSubjectAccessReview',
      metadata: { namespace: 'n' },
      spec: { user: 'u' },
    },
  },
  {
    name: 'SelfSubjectRulesReview',
    hex: [
      '6b3873000a310a17617574686f72697a6174696f6e2e6b38732e696f2f7631121653656c665375626a65637452756c657352',
      '657669657712370a100a0012001a0022002a0032003800420012030a016e1a1e0a0d0a0367657412001a017222016e12080a',
      '0367657412012f18012201651a002200',
    ].join(''),
    object: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectRulesReview',
      spec: { namespace: 'n' },
      status: {
        resourceRules: [{ verbs: ['get'], apiGroups: [''], resources: ['r'], resourceNames: ['n'] }],
        nonResourceRules: [{ verbs: ['get'], nonResourceURLs: ['/'] }],
        incomplete: true,
        evaluationError: 'e',
      },
    },
  },
  {
    name: 'TokenRequest',
    hex: [
      '6b3873000a280a1861757468656e7469636174696f6e2e6b38732e696f2f7631120c546f6b656e52657175657374123d0a10',
      '0a0012001a0022002a00320038004200121a0a01611a120a06536563726574120276311a017322017520901c1a0d0a017412',
      '0808a5ebdcca0610001a002200',
    ].join(''),
    object: {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {
        audiences: ['a'],
        expirationSeconds: 3600,
        boundObjectRef: { kind: 'Secret', apiVersion: 'v1', name: 's', uid: 'u' },
      },
      status: { token: 't', expirationTimestamp: '2026-01-02T03:04:05Z' },
    },
  },
  {
    name: 'TokenReview',
    hex: [
      '6b3873000a270a1861757468656e7469636174696f6e2e6b38732e696f2f7631120b546f6b656e52657669657712390a100a',
      '0012001a0022002a0032003800420012060a01741201611a1d080112130a01751201311a016722080a016b12030a01761a01',
      '652201611a002200',
    ].join(''),
    object: {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token: 't', audiences: ['a'] },
      status: {
        authenticated: true,
        user: { username: 'u', uid: '1', groups: ['g'], extra: { k: ['v'] } },
        audiences: ['a'],
        error: 'e',
      },
    },
  },
  {
    name: 'SelfSubjectReview as oc sends it',
    hex: [
      '6b3873000a2d0a1861757468656e7469636174696f6e2e6b38732e696f2f7631121153656c665375626a6563745265766965',
      '77121a0a100a0012001a0022002a0032003800420012060a040a0012001a002200',
    ].join(''),
    object: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
  },
  {
    name: 'SelfSubjectReview with a user',
    hex: [
      '6b3873000a2d0a1861757468656e7469636174696f6e2e6b38732e696f2f7631121153656c665375626a6563745265766965',
      '77121b0a100a0012001a0022002a0032003800420012070a050a017512001a002200',
    ].join(''),
    object: {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'SelfSubjectReview',
      status: { userInfo: { username: 'u' } },
    },
  },
];
