"""What others do to copies, found and handled by policy: one suite over every store, each a real server or emulator."""

import pytest

pytest.register_assert_rewrite("tests.sync.drift.suite")
