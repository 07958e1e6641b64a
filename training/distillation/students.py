"""Networks in training that answer for labels and for a teacher, one class for each method.

Axes: N clips, C channels, T frames (of features: time steps), H height, W width, F features, K classes.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.distillation.losses import feature_sum, sequence_sum, soft_label_sum
from kinebert.training.distillation.views import POOLED, SCORES, TOKENS, View, exact, merged, tokens
from kinebert.training.models import Recognizer
from kinebert.training.models.heads.bert import BertPool
from kinebert.training.recipe.distill import DistillRecipe


class Student(nn.Module):
    """A recognizer in training, with what it needs to be compared with its teacher.

    Args:
        recognizer: The student itself; nothing is added to it.
        recipe: What is compared, and what that weighs.
        size: F of what the teacher gives, for the projection.

    Raises:
        ConfigError: If the network has nothing to be compared.
    """

    view: ClassVar[View]
    """What the teacher gives."""

    def __init__(self, recognizer: Recognizer, recipe: DistillRecipe, size: int) -> None:
        super().__init__()
        self.check(recognizer)
        self.recognizer, self.recipe = recognizer, recipe
        self.projection: nn.Linear | None = None
        if recipe.projection:
            like = recognizer.classifier.weight
            own = self.view.shape(recognizer, recognizer.spec.num_frames)[-1]
            self.projection = nn.Linear(own, size, bias=False, device=like.device, dtype=like.dtype)

    @property
    def projected(self) -> list[nn.Parameter]:
        """Parameters that are trained with the recognizer and are no part of it: those of a projection."""
        return [] if self.projection is None else list(self.projection.parameters())

    @classmethod
    def check(cls, recognizer: Recognizer) -> None:
        """Raise a ConfigError unless a network can be such a student."""
        del recognizer

    def forward(self, x_NCTHW: Tensor, taught: Tensor) -> tuple[Tensor, Tensor]:
        """Answer clips.

        Args:
            x_NCTHW: Normalised, as the recognizer's spec says.
            taught: What the teacher gives for the same clips.

        Returns:
            Logits ``(N, K)``, and the loss beside that of the labels, weighted and summed over the clips.
        """
        logits_NK, answer, hidden_NT = self.answer(x_NCTHW)
        if self.projection is not None:
            answer = self.projection(answer)
        return logits_NK, self.recipe.factor * self.distance(exact(answer), exact(taught), hidden_NT)

    def answer(self, x_NCTHW: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return logits, what is compared with the teacher's, and which time steps count (None for all)."""
        raise NotImplementedError

    def distance(self, answer: Tensor, taught: Tensor, hidden_NT: Tensor | None) -> Tensor:
        """Return how far the answer is from the teacher's, summed over the clips."""
        raise NotImplementedError


class Mars(Student):
    """Pooled features beside labels: "MARS", CVPR 2019, and its published program."""

    view = POOLED

    def answer(self, x_NCTHW: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Compare pooled features."""
        pooled = self.recognizer.pooled(x_NCTHW)
        return self.recognizer.scores(pooled), merged(self.recognizer, pooled), None

    def distance(self, answer: Tensor, taught: Tensor, hidden_NT: Tensor | None) -> Tensor:
        """Return the squared difference of the features."""
        del hidden_NT
        return feature_sum(answer, taught)


class Mers(Mars):
    """Pooled features for the backbone and the head, labels for the classifier alone: MERS of the same paper.

    ``joint`` is what its program does by two backward passes: the classifier sees a second pass in training mode, by
    which batch norms move their running statistics once more, and nothing behind it gets a gradient of the labels.
    """

    def answer(self, x_NCTHW: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Compare pooled features, of which the classifier sees what no gradient passes."""
        pooled = self.recognizer.pooled(x_NCTHW)
        again = pooled.detach()
        if self.recipe.mers == "joint":
            with torch.no_grad():
                again = self.recognizer.pooled(x_NCTHW)
        return self.recognizer.scores(again), merged(self.recognizer, pooled), None


class Bert(Student):
    """BERT's outputs at the time steps beside labels: equation 5.1 of the METU thesis."""

    view = TOKENS

    @classmethod
    def check(cls, recognizer: Recognizer) -> None:
        """Raise a ConfigError unless its head is BERT."""
        if not isinstance(recognizer.head, BertPool):
            raise ConfigError(
                f"distill.method = \"bert\" compares BERT's outputs, and the student's head is "
                f'{recognizer.config["head"]!r}. Take model.head = "bert", or distill.method = "mars".'
            )

    def answer(self, x_NCTHW: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Compare BERT's outputs without that of the classification token."""
        net = self.recognizer
        assert isinstance(net.head, BertPool)
        net.check_input(x_NCTHW)
        tokens_NTF = tokens(net, x_NCTHW)
        visible_NT = net.head.draw_visible(tokens_NTF)
        x_NSF = net.head.encode(tokens_NTF, visible_NT)
        hidden_NT = None
        if self.recipe.positions == "hidden":
            hidden_NT = torch.zeros_like(tokens_NTF[..., 0]) if visible_NT is None else ~visible_NT
        return net.scores(net.head.read(x_NSF)), x_NSF[:, 1:], hidden_NT

    def distance(self, answer: Tensor, taught: Tensor, hidden_NT: Tensor | None) -> Tensor:
        """Return the squared distances of directions."""
        return sequence_sum(answer, taught, self.recipe.reduction, hidden_NT)


class Logits(Student):
    """The teacher's softened classes beside labels: arXiv:1503.02531."""

    view = SCORES

    def answer(self, x_NCTHW: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Compare scores."""
        logits_NK = self.recognizer.scores(self.recognizer.pooled(x_NCTHW))
        return logits_NK, logits_NK, None

    def distance(self, answer: Tensor, taught: Tensor, hidden_NT: Tensor | None) -> Tensor:
        """Return the divergence of the classes."""
        del hidden_NT
        return soft_label_sum(answer, taught, self.recipe.temperature)


STUDENTS: Mapping[str, type[Student]] = {"mars": Mars, "mers": Mers, "bert": Bert, "logits": Logits}
"""By method."""
