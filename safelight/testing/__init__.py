"""Tests for authors of adapters. They need pytest and pytest-asyncio; nothing of the product imports this package."""

import pytest

pytest.register_assert_rewrite("safelight.testing.adapter_contract")
