"""Shows the values of assertions in the adapter contract."""

import pytest

pytest.register_assert_rewrite("safelight.testing.adapter_contract")
