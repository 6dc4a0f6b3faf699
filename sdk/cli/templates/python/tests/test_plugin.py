"""The plugin as its callers meet it, behind the real protocol, without a cluster."""

import unittest
from unittest import mock

import grpc
from kite_plugin import kubernetes, testing

from plugin import plugin


class PluginTest(unittest.IsolatedAsyncioTestCase):
    async def test_hello_greets_the_caller(self):
        async with testing.start(plugin) as client:
            answer = await client.get("/hello", user="anna")
        self.assertEqual((answer.status, answer.json()), (200, {"message": "Hello, anna!"}))

    async def test_the_tool_greets_by_name(self):
        async with testing.start(plugin) as client:
            result = await client.call_tool("hello", {"name": "Bob"})
            self.assertEqual((result.text, result.is_error), ("Hello, Bob!", False))
            with self.assertRaises(grpc.aio.AioRpcError) as refused:
                await client.call_tool("hello", {})
        self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    async def test_the_setting_changes_the_greeting(self):
        async with testing.start(plugin) as client:
            await client.apply_settings({"greeting": "Ahoy"})
            answer = await client.get("/hello", user="anna")
            self.assertEqual(answer.json(), {"message": "Ahoy, anna!"})
            with self.assertRaisesRegex(testing.Refused, "greeting is a text"):
                await client.apply_settings({"greeting": 7})
            result = await client.call_tool("hello", {"name": "Bob"})
        self.assertEqual(result.text, "Ahoy, Bob!", "refused settings leave those of before")

    async def test_pods_are_listed(self):
        listed = {"items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]}
        with mock.patch.object(kubernetes, "namespace", return_value="kite-plugins"):
            with mock.patch.object(kubernetes, "get", return_value=listed) as get:
                async with testing.start(plugin) as client:
                    answer = await client.get("/pods")
        self.assertEqual(answer.json(), {"pods": ["a", "b"]})
        get.assert_called_once_with("/api/v1/namespaces/kite-plugins/pods?limit=500")

    async def test_without_a_cluster_pods_are_an_error(self):
        async with testing.start(plugin) as client:
            answer = await client.get("/pods")
        self.assertEqual(answer.status, 502)

    async def test_other_paths_and_methods_are_refused(self):
        async with testing.start(plugin) as client:
            self.assertEqual((await client.get("/nothing")).status, 404)
            self.assertEqual((await client.request("POST", "/hello", b"{}")).status, 405)
