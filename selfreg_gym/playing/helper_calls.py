"""``HelperCalls``: the actions of a helper for N environments, and the environments for which it fails.

A helper decides for all environments in one call. If the call fails, it is repeated for each half of the environments,
and a half that fails is divided again, until each environment for which the helper fails is found. A repeated call has
N observations too, because the helper's state belongs to N environments. An environment outside the half gets the
observation of one inside it and the mark of a new episode, so that its true observation and the helper's memory of it
have no effect. The states that these calls return are discarded. A last call decides for all environments for which
the helper works; its state is kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.errors import EndpointError, SelfRegError, TaskContractError, cause_of, is_failure, message_of, shown
from selfreg_gym.helper import Helper
from selfreg_gym.types import Episode
from selfreg_gym.utils.time_limit import CallTimedOutError, call_within

__all__ = ["HelperCalls", "failed_by_helper", "helper_errors", "with_working_helper"]

_PREFIX = "the helper: "
_MAX_UNREACHED = 4
_MAX_FAILED = 32


class HelperCalls:
    """Calls a helper for N environments, and finds those for which it fails.

    Args:
        helper: as it is for this env (``for_interventions``, ``wrap``).
        n: N, number of environments.
        k: K, number of interventions.
        abort: whether the action K + 1 exists.
        timeout: seconds that a call may take; None: no limit.

    Attributes:
        helper, n: as given.
        unseen: ``(N,)`` the helper's ``last_unseen`` after the last answer, or None if it does not report it.
        cause: the last exception that the helper raised, or None.
    """

    def __init__(self, helper: Helper, n: int, k: int, *, abort: bool, timeout: float | None = None) -> None:
        self.helper, self.n, self._timeout = helper, n, timeout
        self._largest = k + abort
        self._rule = (
            f"for N observations, a helper must return N integer actions from 0 to K{' + 1 (abort)' if abort else ''} "
            f"(here N = {n} and K = {k})"
        )
        self.unseen: NDArray[np.bool_] | None = None
        self.cause: Exception | None = None
        self._unreached = 0  # faults in a row because no server answered

    def begin_episodes(self, state: Any, starts: NDArray[np.bool_], keys: Sequence[int]) -> Any:
        """The helper's state after ``begin_episodes`` with the keys ``(N,)`` of the episodes that begin.

        Raises:
            TaskContractError: the helper raised, or took too long. It gets the keys of all episodes and no observation,
                so this is not the fault of one episode.
        """
        with helper_errors(self.helper, "begin_episodes"):
            given = state, starts.copy(), np.array(keys, dtype=np.int64)
            return call_within(self._timeout, lambda: self.helper.begin_episodes(*given))

    def ask(
        self, observation: Any, state: Any, starts: NDArray[np.bool_], deterministic: bool, busy: Sequence[int]
    ) -> tuple[NDArray[np.int64], Any, dict[int, str]]:
        """The actions for all environments.

        Args:
            observation: of N environments, or of one.
            state: the state that the last call returned; None at first.
            starts: ``(N,)`` True where an episode begins.
            deterministic: passed to ``predict``.
            busy: the environments with an episode in progress; the answers for the others do not matter.

        Returns:
            Actions ``(N,)``, valid in the busy environments without a fault; the new state; and by environment the
            error that names the helper and the rule that it broke.

        Raises:
            SelfRegError: the helper raised an error of :mod:`selfreg_gym.errors` about its settings or files, which is
                not the fault of one episode. (``EndpointError`` and ``TaskContractError`` are faults of episodes.)
            EndpointError: the server gave no answer for four environments in a row.
        """
        faults: dict[int, str] = {}
        works = list(busy)
        try:
            actions, after = self._call(observation, state, starts, deterministic, works)
        except (TaskContractError, EndpointError) as error:
            self.cause = error
            faults = self._find_faults(observation, state, starts, deterministic, works)
            works = [i for i in works if i not in faults]
            actions, after = np.zeros(self.n, np.int64), state
            if works:
                try:
                    actions, after = self._ask_about(works, observation, state, starts, deterministic)
                except (TaskContractError, EndpointError) as again:  # it fails only for some of them together
                    self.cause = again
                    faults |= dict.fromkeys(works, _PREFIX + str(again))
        return actions, after, faults

    def _find_faults(
        self, observation: Any, state: Any, starts: NDArray[np.bool_], deterministic: bool, group: Sequence[int]
    ) -> dict[int, str]:
        """The errors of those environments of ``group`` for which the helper fails, if only they are asked about."""
        try:
            self._ask_about(group, observation, state, starts, deterministic)
            return {}
        except (TaskContractError, EndpointError) as error:
            if len(group) == 1:
                unreached = isinstance(error, EndpointError) and not error.reached
                self._unreached = self._unreached + 1 if unreached else 0
                if self._unreached >= _MAX_UNREACHED:
                    raise
                return {group[0]: _PREFIX + str(error)}
        half = len(group) // 2
        rest = observation, state, starts, deterministic
        return self._find_faults(*rest, group[:half]) | self._find_faults(*rest, group[half:])

    def _ask_about(
        self, group: Sequence[int], observation: Any, state: Any, starts: NDArray[np.bool_], deterministic: bool
    ) -> tuple[NDArray[np.int64], Any]:
        """A call about the environments of ``group`` alone."""
        asked = np.zeros(self.n, np.bool_)
        asked[group] = True
        if not asked.all():
            observation = _rows(observation, np.where(asked, np.arange(self.n), group[0]))
        return self._call(observation, state, starts | ~asked, deterministic, group)

    def _call(
        self, observation: Any, state: Any, starts: NDArray[np.bool_], deterministic: bool, group: Sequence[int]
    ) -> tuple[NDArray[np.int64], Any]:
        """One ``predict``: N integers, which are actions in the environments of ``group``, and the state."""
        with helper_errors(self.helper, "predict"):
            seen, begun = _copied(observation), starts.copy()
            result = call_within(
                self._timeout,
                lambda: self.helper.predict(seen, state=state, episode_start=begun, deterministic=deterministic),
            )
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise TaskContractError(
                f"predict must return (actions, state); {self.helper.type_name} returned {shown(result)}."
            )
        try:
            actions = np.atleast_1d(np.asarray(result[0]))
        except Exception:  # nested lists of different lengths, or an object that cannot be converted
            raise TaskContractError(f"{self._rule}; {self.helper.type_name} returned {shown(result[0])}.") from None
        if actions.shape != (self.n,) or actions.dtype.kind not in "iub":
            raise TaskContractError(
                f"{self._rule}; {self.helper.type_name} returned an array of shape {actions.shape} and type "
                f"{actions.dtype}, {shown(result[0])}."
            )
        self._unreached = 0
        for i in group:
            if not 0 <= actions[i] <= self._largest:
                raise TaskContractError(f"{self._rule}; {self.helper.type_name} returned {int(actions[i])}.")
        self.unseen = self._checked_unseen()
        return actions, result[1]

    def _checked_unseen(self) -> NDArray[np.bool_] | None:
        """The helper's ``last_unseen``, as ``(N,)`` bools."""
        with helper_errors(self.helper, "last_unseen"):
            unseen = self.helper.last_unseen
            flags = None if unseen is None else np.atleast_1d(np.asarray(unseen))
        if flags is None:
            return None
        if flags.shape != (self.n,) or flags.dtype.kind not in "iub":
            raise TaskContractError(
                f"last_unseen of a helper must be None or N bools (here N = {self.n}); {self.helper.type_name} set "
                f"{shown(unseen)}."
            )
        return flags.astype(np.bool_)


def failed_by_helper(episode: Episode) -> bool:
    """Whether an episode ended in an error of the helper."""
    return episode.error is not None and episode.error.startswith(_PREFIX)


def with_working_helper(played: Iterator[Episode], calls: HelperCalls) -> Iterator[Episode]:
    """The same episodes; failures of the helper are passed on only after a first episode in which it did not fail.

    Raises:
        TaskContractError: the helper failed in all episodes, or in each of the first 32 + N, with N environments.
    """
    held: list[Episode] = []
    for episode in played:
        if failed_by_helper(episode):
            held.append(episode)
            if len(held) == _MAX_FAILED + calls.n:
                break
            continue
        yield from held
        yield episode
        yield from played
        return
    if held:
        count = f"The helper failed in all of the {len(held)} episodes that were played"
        raise TaskContractError(f"{count}. {held[-1].error}") from calls.cause


@contextlib.contextmanager
def helper_errors(helper: Helper, method: str) -> Iterator[None]:
    """Add the class and the method of the helper to any error that is not one of :mod:`selfreg_gym.errors`."""
    try:
        yield
    except SelfRegError:
        raise
    except CallTimedOutError:
        raise TaskContractError(
            f"a helper must answer every call: {method} of {helper.type_name} did not return within the limit that "
            "call_timeout of the env sets."
        ) from None
    except BaseException as error:
        if not is_failure(error):
            raise
        raise TaskContractError(
            f"a helper must handle every observation: {method} of {helper.type_name} raised "
            f"{type(error).__name__}: {shown(message_of(error))}. Repair the helper, or give it a method wrap(env) "
            "that returns the env with the observations that it reads."
        ) from cause_of(error)


def _copied(observation: Any) -> Any:
    """The same observation in arrays of its own: a helper that changes them in place may be asked again."""
    if isinstance(observation, Mapping):
        return {name: _copied(value) for name, value in observation.items()}
    return observation.copy() if isinstance(observation, np.ndarray) else observation


def _rows(observation: Any, rows: NDArray[np.intp]) -> Any:
    """The observations of ``rows``: of an array, a dict of arrays, or a sequence of texts."""
    if isinstance(observation, Mapping):
        return {name: _rows(value, rows) for name, value in observation.items()}
    if isinstance(observation, np.ndarray):
        return observation[rows]
    return type(observation)(observation[i] for i in rows)
