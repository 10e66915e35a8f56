"""The dynamic client of the package `openshift`, which Ansible's modules are built on, against a running Weir."""

import time
import unittest

from kubernetes import config
from openshift.dynamic import DynamicClient
from openshift.dynamic.exceptions import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnprocessibleEntityError,
)

NAMESPACE = "dynamic"


def config_map(name, **data):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": data,
    }


class DynamicClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = DynamicClient(config.new_client_from_config())
        cls.projects = cls.client.resources.get(api_version="project.openshift.io/v1", kind="Project")
        cls.requests = cls.client.resources.get(api_version="project.openshift.io/v1", kind="ProjectRequest")
        cls.config_maps = cls.client.resources.get(api_version="v1", kind="ConfigMap")
        cls.role_bindings = cls.client.resources.get(
            api_version="rbac.authorization.k8s.io/v1", kind="RoleBinding"
        )
        cls.requests.create(body=cls.project_request(NAMESPACE))

    @staticmethod
    def project_request(name):
        return {
            "apiVersion": "project.openshift.io/v1",
            "kind": "ProjectRequest",
            "metadata": {"name": name},
            "displayName": f"The project {name}",
            "description": "made by a test",
        }

    def test_project_request_answers_with_the_project(self):
        project = self.requests.create(body=self.project_request("requested"))
        self.assertEqual(project.kind, "Project")
        self.assertEqual(project.metadata.annotations["openshift.io/display-name"], "The project requested")
        self.assertEqual(project.metadata.annotations["openshift.io/requester"], "admin")
        self.assertEqual(self.projects.get(name="requested").status.phase, "Active")
        self.assertIn("requested", [item.metadata.name for item in self.projects.get().items])

        with self.assertRaises(ConflictError) as again:
            self.requests.create(body=self.project_request("requested"))
        self.assertEqual(again.exception.summary(), 'project.project.openshift.io "requested" already exists')

        self.projects.patch(
            name="requested",
            body={"metadata": {"annotations": {"openshift.io/display-name": "Another"}}},
            content_type="application/merge-patch+json",
        )
        self.assertEqual(
            self.projects.get(name="requested").metadata.annotations["openshift.io/display-name"], "Another"
        )
        self.projects.delete(name="requested")
        # A project goes once all that is in it has gone.
        deadline = time.monotonic() + 30
        while "requested" in [item.metadata.name for item in self.projects.get().items]:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        with self.assertRaises(NotFoundError):
            self.projects.get(name="requested")

    def test_config_map_is_created_read_listed_and_deleted(self):
        created = self.config_maps.create(body=config_map("plain", color="blue"))
        self.assertEqual(created.data.color, "blue")
        read = self.config_maps.get(name="plain", namespace=NAMESPACE)
        self.assertEqual(read.to_dict(), created.to_dict())
        names = [item.metadata.name for item in self.config_maps.get(namespace=NAMESPACE).items]
        self.assertIn("plain", names)
        self.config_maps.delete(name="plain", namespace=NAMESPACE)
        with self.assertRaises(NotFoundError) as gone:
            self.config_maps.get(name="plain", namespace=NAMESPACE)
        self.assertEqual(gone.exception.status, 404)
        self.assertEqual(gone.exception.summary(), 'configmaps "plain" not found')

    def test_list_is_selected_by_label_and_field(self):
        for name, app in (("selected-a", "one"), ("selected-b", "one"), ("selected-c", "two")):
            body = config_map(name)
            body["metadata"]["labels"] = {"app": app}
            self.config_maps.create(body=body)

        def names(**selectors):
            return [item.metadata.name for item in self.config_maps.get(namespace=NAMESPACE, **selectors).items]

        self.assertEqual(names(label_selector="app=one"), ["selected-a", "selected-b"])
        self.assertEqual(names(label_selector="app in (one, two), app!=one"), ["selected-c"])
        self.assertEqual(names(field_selector="metadata.name=selected-b"), ["selected-b"])

    def test_list_comes_in_pages(self):
        for name in ("page-a", "page-b", "page-c"):
            body = config_map(name)
            body["metadata"]["labels"] = {"paged": "yes"}
            self.config_maps.create(body=body)
        names, token = [], None
        while True:
            page = self.config_maps.get(namespace=NAMESPACE, label_selector="paged=yes", limit=2, _continue=token)
            names += [item.metadata.name for item in page["items"]]
            token = page.metadata["continue"]
            if not token:
                break
        self.assertEqual(names, ["page-a", "page-b", "page-c"])

    def test_patches(self):
        self.config_maps.create(body=config_map("patched", color="blue", size="small"))
        patch = {"data": {"color": "red", "size": None}}
        merged = self.config_maps.patch(
            name="patched", namespace=NAMESPACE, body=patch, content_type="application/merge-patch+json"
        )
        self.assertEqual(merged.data.to_dict(), {"color": "red"})
        strategic = self.config_maps.patch(name="patched", namespace=NAMESPACE, body={"data": {"shape": "round"}})
        self.assertEqual(strategic.data.to_dict(), {"color": "red", "shape": "round"})
        operations = [{"op": "replace", "path": "/data/color", "value": "green"}]
        changed = self.config_maps.patch(
            name="patched", namespace=NAMESPACE, body=operations, content_type="application/json-patch+json"
        )
        self.assertEqual(changed.data.to_dict(), {"color": "green", "shape": "round"})

    def test_apply_changes_only_what_differs(self):
        self.config_maps.apply(body=config_map("applied", color="blue", size="small"), namespace=NAMESPACE)
        self.config_maps.patch(
            name="applied",
            namespace=NAMESPACE,
            body={"data": {"shape": "round"}},
            content_type="application/merge-patch+json",
        )
        applied = self.config_maps.apply(body=config_map("applied", color="red"), namespace=NAMESPACE)
        self.assertEqual(applied.data.to_dict(), {"color": "red", "shape": "round"})
        again = self.config_maps.apply(body=config_map("applied", color="red"), namespace=NAMESPACE)
        self.assertEqual(again.metadata.resourceVersion, applied.metadata.resourceVersion)

    def test_replace_is_refused_when_another_was_faster(self):
        first = self.config_maps.create(body=config_map("replaced", color="blue")).to_dict()
        second = self.config_maps.replace(body={**first, "data": {"color": "red"}}, namespace=NAMESPACE)
        self.assertNotEqual(second.metadata.resourceVersion, first["metadata"]["resourceVersion"])
        with self.assertRaises(ConflictError):
            self.config_maps.replace(body={**first, "data": {"color": "green"}}, namespace=NAMESPACE)

    def test_invalid_object_is_refused(self):
        with self.assertRaises(UnprocessibleEntityError):
            self.config_maps.create(body=config_map("Not_A_Name"))

    def test_role_binding_is_created_changed_and_deleted(self):
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "viewers", "namespace": NAMESPACE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "dev"}],
        }
        self.role_bindings.create(body=binding)
        group = {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "crew"}
        # Subjects have no merge key: a strategic patch replaces them all.
        changed = self.role_bindings.patch(name="viewers", namespace=NAMESPACE, body={"subjects": [group]})
        self.assertEqual([subject.name for subject in changed.subjects], ["crew"])
        self.role_bindings.delete(name="viewers", namespace=NAMESPACE)
        names = [item.metadata.name for item in self.role_bindings.get(namespace=NAMESPACE).items]
        self.assertNotIn("viewers", names)

    def test_watch_tells_what_happens(self):
        version = self.config_maps.get(namespace=NAMESPACE).metadata.resourceVersion
        self.config_maps.create(body=config_map("watched", color="blue"))
        self.config_maps.patch(name="watched", namespace=NAMESPACE, body={"data": {"color": "red"}})
        self.config_maps.delete(name="watched", namespace=NAMESPACE)
        events = [
            (event["type"], event["object"].data.color)
            for event in self.config_maps.watch(
                namespace=NAMESPACE, name="watched", resource_version=version, timeout=2
            )
        ]
        self.assertEqual(events, [("ADDED", "blue"), ("MODIFIED", "red"), ("DELETED", "red")])

    def test_service_account_token_is_a_subresource(self):
        accounts = self.client.resources.get(api_version="v1", kind="ServiceAccount")
        accounts.create(
            body={"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": NAMESPACE}}
        )
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        answer = accounts.token.create(name="robot", namespace=NAMESPACE, body=request)
        self.assertTrue(answer.status.token)

    def test_forbidden_to_another_user(self):
        stranger = config.new_client_from_config(context="dev")
        config_maps = DynamicClient(stranger).resources.get(api_version="v1", kind="ConfigMap")
        with self.assertRaises(ForbiddenError):
            config_maps.get(namespace=NAMESPACE)


if __name__ == "__main__":
    unittest.main()
