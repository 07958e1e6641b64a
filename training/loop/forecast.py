"""How long a training will take, from its first steps on: worth knowing before hours are spent."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from kinebert.training.loop.events import EpochDone, Event, Restarted, StageBegan, Started, StepDone

LEAST_S = 60.0
"""What takes less than this is over before anybody has decided anything."""
_STEADY_STEPS, _STEADY_S = 3, 10.0
"""Steps, and seconds that they take together, before their mean is trusted."""
_FORWARD = 1 / 3
"""What a clip of the validation costs beside one that is learnt from, which is gone through forwards and backwards."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What is to be expected."""

    epoch_s: float
    """Seconds of an epoch with its validation."""
    left_s: float
    """Seconds to the end of the training."""
    is_measured: bool
    """Whether a whole epoch was waited for; else the validation is reckoned from the steps."""


class Forecaster:
    """Hears the events of a training; says once what its steps come to, and once more after its first epoch.

    The first step that is heard of compiles, warms up and waits for the loaders, so it does not count. A further stage
    has clips of another length: it is told of anew.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._validation = 0.0
        self._begin()

    def _begin(self) -> None:
        self._is_told = self._is_corrected = False
        self._forget()

    def _forget(self) -> None:
        self._first: tuple[float, StepDone] | None = None
        self._last: tuple[float, StepDone] | None = None

    def __call__(self, event: Event) -> Forecast | None:
        """Take note of an event; return what is now to be said, if it is long enough to be said."""
        match event:
            case Started():
                self._validation = _FORWARD * event.val_videos / max(1, event.train_videos)
                self._begin()
            case StageBegan():
                self._begin()
            case Restarted():
                self._forget()
            case StepDone():
                return self._step(event)
            case EpochDone():
                return self._epoch(event)
            case _:
                pass
        return None

    def _step(self, event: StepDone) -> Forecast | None:
        self._last = (self._clock(), event)
        self._first = self._first or self._last
        seconds, steps = self._heard()
        if self._is_told or self._is_corrected or steps < _STEADY_STEPS or seconds < _STEADY_S:
            return None
        self._is_told = True
        step_s = seconds / steps
        trained_s = step_s * event.steps_per_epoch
        validated_s = trained_s * self._validation
        epochs = event.num_epochs - event.epoch + 1
        left_s = step_s * event.steps_left + validated_s * epochs
        return _if_long(Forecast(epoch_s=trained_s + validated_s, left_s=left_s, is_measured=False))

    def _epoch(self, event: EpochDone) -> Forecast | None:
        (seconds, steps), last = self._heard(), self._last
        self._forget()
        if self._is_corrected or last is None or (steps == 0 and last[1].steps_per_epoch > 1):
            return None  # a run that goes on in the last step of an epoch has measured none
        self._is_corrected = True
        heard_at, step = last
        validated_s = self._clock() - heard_at
        step_s = seconds / steps if steps else max(0.0, event.row["seconds"] - validated_s)
        epoch_s = step_s * step.steps_per_epoch + validated_s
        left_s = step_s * step.steps_left + validated_s * (event.num_epochs - event.row["epoch"])
        return _if_long(Forecast(epoch_s=epoch_s, left_s=left_s, is_measured=True))

    def _heard(self) -> tuple[float, int]:
        """Seconds and steps from the first step of this epoch that was heard of to the last one."""
        if self._first is None or self._last is None:
            return 0.0, 0
        return self._last[0] - self._first[0], self._last[1].global_step - self._first[1].global_step


def _if_long(forecast: Forecast) -> Forecast | None:
    return forecast if forecast.left_s >= LEAST_S else None
