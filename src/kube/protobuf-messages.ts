/**
 * The messages that client-go sends, in the language of Protocol Buffers, with the field numbers of the `generated.proto`
 * files in k8s.io/api and k8s.io/apimachinery and the names of the JSON form.
 *
 * Those files are proto2 and say `optional` everywhere. Here `optional` marks what is a pointer in the Go types, where
 * an empty value says something, and what is not marked counts as absent when empty, as `omitempty` has it in JSON.
 * Fields that are left out, such as managedFields, are skipped when read.
 */
export const protobufMessages = `
syntax = "proto3";

// k8s.io/apimachinery/pkg/runtime: what every body consists of after its four magic bytes.

message TypeMeta {
  string apiVersion = 1;
  string kind = 2;
}

message Unknown {
  TypeMeta typeMeta = 1;
  bytes raw = 2;
  string contentEncoding = 3;
  string contentType = 4;
}

// k8s.io/apimachinery/pkg/apis/meta/v1 and pkg/api/resource.

message Time {
  int64 seconds = 1;
  int32 nanos = 2;
}

message MicroTime {
  int64 seconds = 1;
  int32 nanos = 2;
}

message Quantity {
  string string = 1;
}

message ObjectMeta {
  string name = 1;
  string generateName = 2;
  string namespace = 3;
  string selfLink = 4;
  string uid = 5;
  string resourceVersion = 6;
  int64 generation = 7;
  Time creationTimestamp = 8;
  optional Time deletionTimestamp = 9;
  optional int64 deletionGracePeriodSeconds = 10;
  map<string, string> labels = 11;
  map<string, string> annotations = 12;
  repeated OwnerReference ownerReferences = 13;
  repeated string finalizers = 14;
}

message OwnerReference {
  string kind = 1;
  string name = 3;
  string uid = 4;
  string apiVersion = 5;
  optional bool controller = 6;
  optional bool blockOwnerDeletion = 7;
}

message DeleteOptions {
  optional int64 gracePeriodSeconds = 1;
  optional Preconditions preconditions = 2;
  optional bool orphanDependents = 3;
  optional string propagationPolicy = 4;
  repeated string dryRun = 5;
  optional bool ignoreStoreReadErrorWithClusterBreakingPotential = 6;
}

message Preconditions {
  optional string uid = 1;
  optional string resourceVersion = 2;
}

message LabelSelector {
  map<string, string> matchLabels = 1;
  repeated SelectorRequirement matchExpressions = 2;
}

// LabelSelectorRequirement, and FieldSelectorRequirement, which is the same.
message SelectorRequirement {
  string key = 1;
  string operator = 2;
  repeated string values = 3;
}

// k8s.io/api/core/v1

message Namespace {
  ObjectMeta metadata = 1;
  NamespaceSpec spec = 2;
  NamespaceStatus status = 3;
}

message NamespaceSpec {
  repeated string finalizers = 1;
}

message NamespaceStatus {
  string phase = 1;
  repeated NamespaceCondition conditions = 2;
}

message NamespaceCondition {
  string type = 1;
  string status = 2;
  Time lastTransitionTime = 4;
  string reason = 5;
  string message = 6;
}

message Secret {
  ObjectMeta metadata = 1;
  map<string, bytes> data = 2;
  string type = 3;
  map<string, string> stringData = 4;
  optional bool immutable = 5;
}

message ConfigMap {
  ObjectMeta metadata = 1;
  map<string, string> data = 2;
  map<string, bytes> binaryData = 3;
  optional bool immutable = 4;
}

message ServiceAccount {
  ObjectMeta metadata = 1;
  repeated ObjectReference secrets = 2;
  repeated LocalObjectReference imagePullSecrets = 3;
  optional bool automountServiceAccountToken = 4;
}

message ObjectReference {
  string kind = 1;
  string namespace = 2;
  string name = 3;
  string uid = 4;
  string apiVersion = 5;
  string resourceVersion = 6;
  string fieldPath = 7;
}

message LocalObjectReference {
  string name = 1;
}

message ResourceQuota {
  ObjectMeta metadata = 1;
  ResourceQuotaSpec spec = 2;
  ResourceQuotaStatus status = 3;
}

message ResourceQuotaSpec {
  map<string, Quantity> hard = 1;
  repeated string scopes = 2;
  optional ScopeSelector scopeSelector = 3;
}

message ScopeSelector {
  repeated ScopedResourceSelectorRequirement matchExpressions = 1;
}

message ScopedResourceSelectorRequirement {
  string scopeName = 1;
  string operator = 2;
  repeated string values = 3;
}

message ResourceQuotaStatus {
  map<string, Quantity> hard = 1;
  map<string, Quantity> used = 2;
}

message LimitRange {
  ObjectMeta metadata = 1;
  LimitRangeSpec spec = 2;
}

message LimitRangeSpec {
  repeated LimitRangeItem limits = 1;
}

message LimitRangeItem {
  string type = 1;
  map<string, Quantity> max = 2;
  map<string, Quantity> min = 3;
  map<string, Quantity> default = 4;
  map<string, Quantity> defaultRequest = 5;
  map<string, Quantity> maxLimitRequestRatio = 6;
}

message Event {
  ObjectMeta metadata = 1;
  ObjectReference involvedObject = 2;
  string reason = 3;
  string message = 4;
  EventSource source = 5;
  Time firstTimestamp = 6;
  Time lastTimestamp = 7;
  int32 count = 8;
  string type = 9;
  MicroTime eventTime = 10;
  optional EventSeries series = 11;
  string action = 12;
  optional ObjectReference related = 13;
  string reportingComponent = 14;
  string reportingInstance = 15;
}

message EventSource {
  string component = 1;
  string host = 2;
}

message EventSeries {
  int32 count = 1;
  MicroTime lastObservedTime = 2;
}

// k8s.io/api/rbac/v1

message Role {
  ObjectMeta metadata = 1;
  repeated PolicyRule rules = 2;
}

message ClusterRole {
  ObjectMeta metadata = 1;
  repeated PolicyRule rules = 2;
  optional AggregationRule aggregationRule = 3;
}

message PolicyRule {
  repeated string verbs = 1;
  repeated string apiGroups = 2;
  repeated string resources = 3;
  repeated string resourceNames = 4;
  repeated string nonResourceURLs = 5;
}

message AggregationRule {
  repeated LabelSelector clusterRoleSelectors = 1;
}

message RoleBinding {
  ObjectMeta metadata = 1;
  repeated Subject subjects = 2;
  RoleRef roleRef = 3;
}

message ClusterRoleBinding {
  ObjectMeta metadata = 1;
  repeated Subject subjects = 2;
  RoleRef roleRef = 3;
}

message Subject {
  string kind = 1;
  string apiGroup = 2;
  string name = 3;
  string namespace = 4;
}

message RoleRef {
  string apiGroup = 1;
  string kind = 2;
  string name = 3;
}

// k8s.io/api/authorization/v1

message SelfSubjectAccessReview {
  ObjectMeta metadata = 1;
  SelfSubjectAccessReviewSpec spec = 2;
  SubjectAccessReviewStatus status = 3;
}

message SelfSubjectAccessReviewSpec {
  optional ResourceAttributes resourceAttributes = 1;
  optional NonResourceAttributes nonResourceAttributes = 2;
}

message SubjectAccessReview {
  ObjectMeta metadata = 1;
  SubjectAccessReviewSpec spec = 2;
  SubjectAccessReviewStatus status = 3;
}

message LocalSubjectAccessReview {
  ObjectMeta metadata = 1;
  SubjectAccessReviewSpec spec = 2;
  SubjectAccessReviewStatus status = 3;
}

message SubjectAccessReviewSpec {
  optional ResourceAttributes resourceAttributes = 1;
  optional NonResourceAttributes nonResourceAttributes = 2;
  string user = 3;
  repeated string groups = 4;
  map<string, ExtraValue> extra = 5;
  string uid = 6;
}

message SubjectAccessReviewStatus {
  bool allowed = 1;
  string reason = 2;
  string evaluationError = 3;
  bool denied = 4;
}

message ResourceAttributes {
  string namespace = 1;
  string verb = 2;
  string group = 3;
  string version = 4;
  string resource = 5;
  string subresource = 6;
  string name = 7;
  optional SelectorAttributes fieldSelector = 8;
  optional SelectorAttributes labelSelector = 9;
}

// FieldSelectorAttributes, and LabelSelectorAttributes, which is the same.
message SelectorAttributes {
  string rawSelector = 1;
  repeated SelectorRequirement requirements = 2;
}

message NonResourceAttributes {
  string path = 1;
  string verb = 2;
}

// In k8s.io/api/authentication/v1 as well.
message ExtraValue {
  repeated string items = 1;
}

message SelfSubjectRulesReview {
  ObjectMeta metadata = 1;
  SelfSubjectRulesReviewSpec spec = 2;
  SubjectRulesReviewStatus status = 3;
}

message SelfSubjectRulesReviewSpec {
  string namespace = 1;
}

message SubjectRulesReviewStatus {
  repeated ResourceRule resourceRules = 1;
  repeated NonResourceRule nonResourceRules = 2;
  bool incomplete = 3;
  string evaluationError = 4;
}

message ResourceRule {
  repeated string verbs = 1;
  repeated string apiGroups = 2;
  repeated string resources = 3;
  repeated string resourceNames = 4;
}

message NonResourceRule {
  repeated string verbs = 1;
  repeated string nonResourceURLs = 2;
}

// k8s.io/api/authentication/v1

message TokenRequest {
  ObjectMeta metadata = 1;
  TokenRequestSpec spec = 2;
  TokenRequestStatus status = 3;
}

message TokenRequestSpec {
  repeated string audiences = 1;
  optional BoundObjectReference boundObjectRef = 3;
  optional int64 expirationSeconds = 4;
}

message TokenRequestStatus {
  string token = 1;
  Time expirationTimestamp = 2;
}

message BoundObjectReference {
  string kind = 1;
  string apiVersion = 2;
  string name = 3;
  string uid = 4;
}

message TokenReview {
  ObjectMeta metadata = 1;
  TokenReviewSpec spec = 2;
  TokenReviewStatus status = 3;
}

message TokenReviewSpec {
  string token = 1;
  repeated string audiences = 2;
}

message TokenReviewStatus {
  bool authenticated = 1;
  UserInfo user = 2;
  string error = 3;
  repeated string audiences = 4;
}

message SelfSubjectReview {
  ObjectMeta metadata = 1;
  SelfSubjectReviewStatus status = 2;
}

message SelfSubjectReviewStatus {
  UserInfo userInfo = 1;
}

message UserInfo {
  string username = 1;
  string uid = 2;
  repeated string groups = 3;
  map<string, ExtraValue> extra = 4;
}
`;
