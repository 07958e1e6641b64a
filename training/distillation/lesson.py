"""What one process of a training needs of a teacher: the student around its network, and answers for its batches.

Axes: N clips, C channels, T frames, H height, W width, F features.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from kinebert.training.data.batches import Batch
from kinebert.training.data.transforms import to_device_batch
from kinebert.training.distillation.kept import KeptAnswers
from kinebert.training.distillation.pictures import Clips, Pictures
from kinebert.training.distillation.students import STUDENTS, Student
from kinebert.training.distillation.teacher import Teacher, check_lesson, load_teacher
from kinebert.training.distributed.worker import WorkerContext
from kinebert.training.models import Recognizer
from kinebert.training.recipe.train import TrainRecipe


def student_of(model: Recognizer, teacher: Teacher, recipe: TrainRecipe) -> Student:
    """Return ``model`` (it may be without numbers, on the meta device) as a student of a teacher.

    Raises:
        ConfigError: If what it answers cannot be compared.
    """
    assert recipe.distill is not None
    check_lesson(model, teacher, recipe)
    return STUDENTS[recipe.distill.method](model, recipe.distill, teacher.shape[-1])


class Lesson:
    """A teacher for the batches of one process.

    Args:
        recipe: Pinned.
        pictures: What is read.
        videos: Names of the training videos.
        worker: This process.

    Raises:
        UserError: If there is no such teacher, or it does not fit the training.
    """

    def __init__(self, recipe: TrainRecipe, pictures: Pictures, videos: Sequence[str], worker: WorkerContext) -> None:
        assert recipe.distill is not None
        self.recipe, self._pictures = recipe, pictures
        self.teacher = load_teacher(recipe, pictures.taught, pictures.own.classes)
        self._videos, self._device = videos, worker.device
        self._spec = self.teacher.network.spec
        self._teacher = self.teacher.on(worker.device, recipe)
        self._kept = KeptAnswers(recipe, pictures.taught) if recipe.distill.keep_features else None

    def student(self, model: Recognizer) -> Student:
        """Return ``model`` as a student of the teacher.

        Raises:
            ConfigError: If what it answers cannot be compared.
        """
        return student_of(model, self.teacher, self.recipe)

    def __call__(self, batch: Batch, codes: Clips, mixed: Callable[[Tensor], Tensor]) -> Tensor:
        """Return what the teacher gives for a batch.

        Args:
            batch: As it was loaded.
            codes: What :meth:`.Pictures.codes` makes of its clips.
            mixed: Mixes normalised clips ``(N, C, T, H, W)`` as those of the student are.
        """

        def ask() -> Tensor:
            theirs = self._pictures.teachers(codes)
            return self._teacher(mixed(to_device_batch(theirs, self._spec, self._device)))

        if self._kept is None:
            return ask()
        return self._kept.of([self._videos[i] for i in batch.videos.tolist()], ask).to(self._device)
