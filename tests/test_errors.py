"""Errors: one family, each also the built-in that a caller expects, and they survive a process pool."""

from __future__ import annotations

import inspect
import pickle

import pytest

from selfreg_gym import errors
from selfreg_gym.errors import SelfRegError, UnknownNameError, did_you_mean

_ALL = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]


@pytest.mark.parametrize("error", _ALL, ids=lambda error: error.__name__)
def test_every_error_is_of_the_family_documented_and_exported(error: type[Exception]) -> None:
    assert issubclass(error, SelfRegError)
    assert error.__doc__
    assert error.__name__ in errors.__all__
    assert error is SelfRegError or issubclass(error, ValueError | LookupError | RuntimeError | ImportError)


def test_an_unknown_name_says_what_was_received_the_nearest_and_all() -> None:
    error = UnknownNameError("kind", "s_ob", ["s_obj", "pnp"])
    assert str(error) == "unknown kind: received 's_ob'. Did you mean 's_obj'? Known: pnp, s_obj."
    assert str(UnknownNameError("kind", "zzz", [])) == "unknown kind: received 'zzz'. Known: none."


def test_of_many_names_only_the_nearest_is_shown() -> None:
    names = [f"level-{i}-v0" for i in range(60)]
    assert str(UnknownNameError("task", "leve-59-v0", names)) == (
        "unknown task: received 'leve-59-v0'. Did you mean 'level-59-v0'? 60 names are known."
    )
    assert str(UnknownNameError("task", "zzz", names)).endswith("and 20 more.")


def test_an_unknown_name_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(UnknownNameError("kind", "s_ob", ["s_obj"])))
    assert (error.what, error.received, error.choices) == ("kind", "s_ob", ["s_obj"])
    assert "Did you mean" in str(error)


def test_did_you_mean_is_silent_when_nothing_is_near() -> None:
    assert did_you_mean("nevr", ["never", "always"]) == " Did you mean 'never'?"
    assert did_you_mean("qqq", ["never"]) == ""
    assert did_you_mean(3, ["never"]) == ""


def test_did_you_mean_knows_swapped_letters_of_short_words() -> None:
    assert did_you_mean("tyni", ["smoke", "tiny"]) == " Did you mean 'tiny'?"
    assert did_you_mean("tniy", ["smoke", "tiny"]) == " Did you mean 'tiny'?"
    assert did_you_mean("ml", ["dp", "lm"]) == " Did you mean 'lm'?"
    assert did_you_mean("niyt", ["smoke", "tiny"]) == "", "the same letters in another order are another word"
    assert did_you_mean("foo", ["mixed", "pnp", "s_hum", "s_obj"]) == ""
    assert did_you_mean("", ["tiny"]) == did_you_mean("t", ["tiny"]) == ""
