"""The typed client of the package `kubernetes`, which checks each answer against the API's own types, and a running Weir."""

import base64
import threading
import time
import unittest

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException

NAMESPACE = "typed"


class CoreClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        api = config.new_client_from_config()
        cls.core = client.CoreV1Api(api)
        cls.rbac = client.RbacAuthorizationV1Api(api)
        cls.authentication = client.AuthenticationV1Api(api)
        cls.authorization = client.AuthorizationV1Api(api)
        cls.version = client.VersionApi(api)
        cls.core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))

    def assert_refused(self, status, reason, call):
        with self.assertRaises(ApiException) as refusal:
            call()
        self.assertEqual(refusal.exception.status, status)
        self.assertIn(f'"reason":"{reason}"', str(refusal.exception.body).replace('": "', '":"'))

    def test_namespace_is_created_read_listed_and_deleted(self):
        made = self.core.create_namespace(
            client.V1Namespace(metadata=client.V1ObjectMeta(name="passing", labels={"stage": "test"}))
        )
        self.assertEqual(made.status.phase, "Active")
        self.assertEqual(self.core.read_namespace("passing").metadata.uid, made.metadata.uid)
        found = self.core.list_namespace(label_selector="stage=test")
        self.assertEqual([item.metadata.name for item in found.items], ["passing"])
        self.core.delete_namespace("passing")
        # A namespace goes once all that is in it has gone.
        deadline = time.monotonic() + 30
        while self.core.list_namespace(field_selector="metadata.name=passing").items:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        self.assert_refused(404, "NotFound", lambda: self.core.read_namespace("passing"))

    def test_secret_is_created_read_listed_and_deleted(self):
        secret = client.V1Secret(
            metadata=client.V1ObjectMeta(name="password"),
            string_data={"password": "swordfish"},
        )
        made = self.core.create_namespaced_secret(NAMESPACE, secret)
        self.assertEqual(made.type, "Opaque")
        read = self.core.read_namespaced_secret("password", NAMESPACE)
        self.assertEqual(base64.b64decode(read.data["password"]), b"swordfish")
        self.assertIsNone(read.string_data)
        self.assertIn("password", [item.metadata.name for item in self.core.list_namespaced_secret(NAMESPACE).items])
        self.assert_refused(409, "AlreadyExists", lambda: self.core.create_namespaced_secret(NAMESPACE, secret))
        self.core.delete_namespaced_secret("password", NAMESPACE)
        self.assert_refused(404, "NotFound", lambda: self.core.read_namespaced_secret("password", NAMESPACE))

    def test_replace_needs_the_newest_version(self):
        body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="replaced"), data={"color": "blue"})
        first = self.core.create_namespaced_config_map(NAMESPACE, body)
        first.data = {"color": "red"}
        second = self.core.replace_namespaced_config_map("replaced", NAMESPACE, first)
        self.assertEqual(second.data, {"color": "red"})
        self.assert_refused(
            409, "Conflict", lambda: self.core.replace_namespaced_config_map("replaced", NAMESPACE, first)
        )

    def test_collection_is_deleted_by_label(self):
        for name, app in (("left", "keep"), ("gone-a", "drop"), ("gone-b", "drop")):
            metadata = client.V1ObjectMeta(name=name, labels={"collection": app})
            self.core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(metadata=metadata))
        self.core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="collection=drop")
        rest = self.core.list_namespaced_config_map(NAMESPACE, label_selector="collection")
        self.assertEqual([item.metadata.name for item in rest.items], ["left"])

    def test_watch_streams_until_its_timeout(self):
        metadata = client.V1ObjectMeta(name="before", labels={"watched": "yes"})
        self.core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(metadata=metadata))

        def create_later():
            later = client.V1ObjectMeta(name="after", labels={"watched": "yes"})
            self.core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(metadata=later, data={"a": "1"}))

        timer = threading.Timer(1, create_later)
        timer.start()
        stream = watch.Watch().stream(
            self.core.list_namespaced_config_map, NAMESPACE, label_selector="watched=yes", timeout_seconds=4
        )
        events = [(event["type"], event["object"].metadata.name) for event in stream]
        timer.join()
        self.assertEqual(events, [("ADDED", "before"), ("ADDED", "after")])

    def test_watch_from_a_version_has_only_what_came_later(self):
        version = self.core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
        metadata = client.V1ObjectMeta(name="later")
        self.core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(metadata=metadata))
        self.core.delete_namespaced_config_map("later", NAMESPACE)
        stream = watch.Watch().stream(
            self.core.list_namespaced_config_map,
            NAMESPACE,
            field_selector="metadata.name=later",
            resource_version=version,
            timeout_seconds=2,
        )
        self.assertEqual([event["type"] for event in stream], ["ADDED", "DELETED"])

    def test_role_and_binding(self):
        rules = [client.V1PolicyRule(api_groups=[""], resources=["configmaps"], verbs=["get", "list"])]
        self.rbac.create_namespaced_role(
            NAMESPACE, client.V1Role(metadata=client.V1ObjectMeta(name="reader"), rules=rules)
        )
        binding = client.V1RoleBinding(
            metadata=client.V1ObjectMeta(name="readers"),
            role_ref=client.V1RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name="reader"),
            subjects=[client.RbacV1Subject(kind="User", api_group="rbac.authorization.k8s.io", name="dev")],
        )
        made = self.rbac.create_namespaced_role_binding(NAMESPACE, binding)
        self.assertEqual(made.subjects[0].name, "dev")
        self.assertIn("cluster-admin", [role.metadata.name for role in self.rbac.list_cluster_role().items])

    def test_service_account_and_its_token(self):
        self.core.create_namespaced_service_account(
            NAMESPACE, client.V1ServiceAccount(metadata=client.V1ObjectMeta(name="robot"))
        )
        request = client.AuthenticationV1TokenRequest(
            spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=3600)
        )
        answer = self.core.create_namespaced_service_account_token("robot", NAMESPACE, request)
        review = self.authentication.create_token_review(
            client.V1TokenReview(spec=client.V1TokenReviewSpec(token=answer.status.token))
        )
        self.assertTrue(review.status.authenticated)
        self.assertEqual(review.status.user.username, f"system:serviceaccount:{NAMESPACE}:robot")

    def test_access_reviews(self):
        attributes = client.V1ResourceAttributes(namespace=NAMESPACE, verb="delete", resource="secrets")
        own = self.authorization.create_self_subject_access_review(
            client.V1SelfSubjectAccessReview(
                spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
            )
        )
        self.assertTrue(own.status.allowed)
        other = self.authorization.create_subject_access_review(
            client.V1SubjectAccessReview(
                spec=client.V1SubjectAccessReviewSpec(resource_attributes=attributes, user="dev")
            )
        )
        self.assertFalse(other.status.allowed)

    def test_version(self):
        self.assertRegex(self.version.get_code().git_version, r"^v\d+\.\d+\.\d+")


if __name__ == "__main__":
    unittest.main()
