"""One suite per port, passed by every adapter that fills it."""

import pytest

pytest.register_assert_rewrite("tests.contracts.store")
