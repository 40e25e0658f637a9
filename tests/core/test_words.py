"""The BIP-39 word list is exact, and loaded only when needed."""

import hashlib
import subprocess
import sys
from pathlib import Path

from keyturn.core.text.wording import english

ROOT = Path(__file__).parents[2]
PUBLISHED = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
"""SHA-256 of the file english.txt beside BIP-39."""


def test_the_words_are_the_published_ones() -> None:
    assert hashlib.sha256("".join(f"{word}\n" for word in english()).encode()).hexdigest() == PUBLISHED


def test_four_letters_tell_any_two_words_apart() -> None:
    assert len({word[:4] for word in english()}) == len(english()) == 2048


def test_the_list_is_read_with_the_first_passphrase_and_not_before() -> None:
    look = (
        "import sys; import keyturn.strategies.registry;"
        "from keyturn.core.text.passwords import Form, PasswordPolicy, generate;"
        "policy = PasswordPolicy(Form.PASSPHRASE); generate(PasswordPolicy()); before = 'mnemonic' in sys.modules;"
        "generate(policy); print(before, 'mnemonic' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.split() == ["False", "True"]
