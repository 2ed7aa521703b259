"""The trained helper: a language model with value heads, which gives the gain of each intervention at every price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfreg_gym.agents.helpers._always import ALWAYS
from selfreg_gym.agents.helpers._gains import GainHelper, Gains
from selfreg_gym.agents.helpers._saved import saved_format
from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.utils.arguments import is_number
from selfreg_gym.utils.model_record import INFO, NUMBER, TRUTH, ModelRecord, Rule

if TYPE_CHECKING:
    from selfreg_gym.inputs import InputEncoder

__all__ = ["LMHelper"]

_NUMBERS = Rule(
    "a list of at least one number",
    lambda values, _: isinstance(values, list) and bool(values) and all(map(is_number, values)),
)
_RECORD = ModelRecord(
    "a helper with value heads",
    "helper.json",
    "selfreg-gains-2",
    {
        "prices": _NUMBERS,
        "costs": _NUMBERS,
        "always": ALWAYS,
        "position": NUMBER,
        "facts": TRUTH,
        "inputs": Rule("a list of names", lambda names, _: isinstance(names, list)),
        "info": INFO,
    },
    older={"selfreg-gains-1": {"always": None}},
)
_ANSWERS = ("selfreg-helper-1", "selfreg-helper-2")  # formats of helpers with answer tokens
_DECIMALS = 6  # of the gains, so that they do not depend on the batch


class LMHelper(GainHelper):
    """A language model that reads the decision, and value heads that give dS and dM at a grid of prices.

    It is a student: its gains are regressed on those of a teacher, which may know more than is known when the helper
    decides (:mod:`selfreg_gym.fitted`). One forward pass serves every budget; the knob is the price
    (:mod:`selfreg_gym.agents.helpers._gains`). The prompt is the observation, the facts that the task reports about the
    state (its feature key), steps left and calls so far. The heads also read numbers, such as the actor's distribution.

    Args:
        backbone: a causal LM in eval mode.
        tokenizer: its tokenizer.
        head: a :class:`selfreg_gym.lm.gain_model.GainHead`.
        prices: ``(P,)``, success per cost unit.
        costs: ``(K,)`` cost units of a call of each intervention.
        encoder: the encoder of the numbers, or None.
        facts: whether the prompt has the feature key.
        position: the knob, in [0, P + 1]; None is the middle.
        always: the intervention, from 1 to K, that is asked at the position P + 1; None: the most expensive.
        info: facts about its training, for the model card.
        seed: seed of the coins at the ends of the axis of prices.
        memo: number of prompts whose features are kept in memory.

    Raises:
        InvalidArgumentError: an argument is out of range, or the head belongs to other prices, costs or inputs.
    """

    label, marker, colour = "LM helper", "o", "blue"
    learns = "gains"

    def __init__(
        self,
        backbone: Any,
        tokenizer: Any,
        head: Any,
        *,
        prices: Sequence[float],
        costs: Sequence[float],
        encoder: InputEncoder | None = None,
        facts: bool = True,
        position: float | None = None,
        always: int | None = None,
        info: dict[str, Any] | None = None,
        seed: int = 0,
        memo: int = 50_000,
    ) -> None:
        from selfreg_gym.agents.helpers._lm_reader import DecisionReader

        super().__init__(prices, costs, position=position, seed=seed, always=always)
        self.reader = DecisionReader(backbone, tokenizer, encoder, facts=facts, memo=memo)
        width = 0 if encoder is None else encoder.width
        wanted = (self.reader.text_width, width, len(self.prices), len(self.costs))
        if head.sizes != wanted:
            raise InvalidArgumentError(
                f"a value head for this backbone, these inputs, prices and costs has the sizes {wanted}, received a "
                f"head with {head.sizes}."
            )
        self.backbone, self.tokenizer, self.head = backbone, tokenizer, head.eval()
        self.encoder, self.facts = encoder, bool(facts)
        self.info: dict[str, Any] = dict(info or {})

    @classmethod
    def train(
        cls,
        rollouts: Any,
        teacher: Any,
        *,
        inputs: Sequence[str] | None = None,
        facts: bool = True,
        prm: Any = None,
        costs: Sequence[float] | None = None,
        backbone: str | Path = "auto",
        actor: str | Path | None = None,
        seed: int = 0,
        epochs: float = 1.0,
        lora: int | bool = False,
        lr: float | None = None,
        batch_size: int = 16,
        accumulate: int = 1,
        max_decisions: int | None = 8_000,
        augment: Callable[[str, np.random.Generator], str] | None = None,
        topics: bool = True,
        patience: int | None = None,
        share: float = 0.1,
        dtype: str = "float32",
        device: str = "cpu",
        resume: str | Path | None = None,
        progress: bool = True,
    ) -> LMHelper:
        """Regress the gains of a teacher at every stored decision, at all prices.

        The loss is the squared error of the gains dS - r dM, at each price relative to their variance
        (:func:`selfreg_gym.lm.gain_model.gain_loss`). The network of the numbers is trained on all decisions; then
        backbone and head are trained end to end on a sample. Decisions of a share of the tasks are held out: the
        weights with the smallest loss on them are kept, and ``info["r2"]`` is the share of the variance of their gains
        that is explained, by price.

        Args:
            rollouts: a ``Rollouts`` store, or episodes.
            teacher: fitted values (the result of ``solve_fitted``), or the transition model of the rollouts, which is
                solved exactly (:func:`selfreg_gym.agents.helpers._teacher.teacher_gains`).
            inputs: names of the numbers that the heads read (:class:`selfreg_gym.inputs.InputEncoder`), or none of
                them. None: those of ``actor``, ``steps_left``, ``calls_so_far`` and, with ``facts``, ``features`` that
                the rollouts have.
            facts: put the feature key into the prompt, where the task has one.
            prm: for the input ``prm``: a process reward model or its folder.
            costs: ``(K,)`` cost units of a call of each intervention; None: 1 each. They must be those of the env that
                it plays in.
            backbone, actor: as for :class:`selfreg_gym.ProcessRewardModel`.
            seed: seed of the split, the sample, new weights and the order of training.
            epochs: passes over the sample; for a built backbone up to 8, where fewer are less than 1,000 steps.
            lora: False trains all weights; True or a rank trains adapters on all linear layers and merges them. A built
                backbone has random weights, so all weights are trained for any ``lora``.
            lr: default 1e-3, with LoRA 3e-3.
            batch_size, accumulate: decisions per forward pass, forward passes per step.
            max_decisions: number of decisions in the sample, all with different prompts; frequent prompts are drawn
                with a higher probability, and their weights keep the loss unbiased. None: all.
            augment: rewrites an observation without changing its meaning (``augment`` of a task). It is applied to
                each drawn observation.
            topics: also learn to predict the feature key, where the task has one. This auxiliary task needs fewer
                examples than the gains, which depend on it.
            patience: stop after this many validations without improvement; None: train to the end.
            share: share of the tasks that are held out.
            dtype, device: those of the backbone, in training and later use.
            resume: directory for the state of an unfinished training.
            progress: show a progress bar.

        Raises:
            InvalidArgumentError: fewer than two tasks, an input that the rollouts lack, an invalid teacher, or a named
                backbone with more than 5 % unknown tokens.
            UnknownNameError, CheckpointError: an unknown input, or the backbone is not a checkpoint.
        """
        from selfreg_gym.agents.helpers._lm_training import train_student
        from selfreg_gym.lm.finetuning_settings import FinetuningSettings

        parts = train_student(
            rollouts,
            teacher,
            inputs=None if inputs is None else tuple(inputs),
            facts=facts,
            prm=prm,
            costs=costs,
            max_decisions=max_decisions,
            augment=augment,
            topics=topics,
            settings=FinetuningSettings(
                backbone=backbone,
                actor=actor,
                seed=seed,
                epochs=epochs,
                lora=lora,
                lr=lr,
                batch_size=batch_size,
                accumulate=accumulate,
                share=share,
                patience=patience,
                dtype=dtype,
                device=device,
                resume=resume,
                progress=progress,
            ),
        )
        return cls(**parts, facts=facts)

    @classmethod
    def made_in(cls, run: Path) -> bool:
        """Whether the helper of the run is one with value heads."""
        return saved_format(Path(run) / "helper" / _RECORD.file) in (_RECORD.format, *_RECORD.older)

    @classmethod
    def from_run(cls, run: Path, *, budget: float | None = None, seed: int = 0) -> LMHelper:
        """The trained helper of a run, which serves every budget."""
        return cls.from_pretrained(Path(run) / "helper", seed=seed)

    def wrap(self, env: Any) -> Any:
        """The env that shows features of the text, and numbers (:class:`selfreg_gym.EncodedObservation`)."""
        from selfreg_gym.wrappers import EncodedObservation

        return EncodedObservation(env, self.reader)

    def gains(self, observations: Any) -> Gains:
        """dS and dM of N observations of :meth:`wrap`, each ``(N, P, K)`` float64.

        Raises:
            InvalidArgumentError: the observations are text, or have another width.
        """
        import torch

        given = np.asarray(observations)
        if given.dtype.kind != "f" or given.ndim != 2 or given.shape[1] != self.reader.width:
            raise InvalidArgumentError(
                f"this helper reads {self.reader.width} numbers per decision, received an array of {given.dtype} with "
                f"the shape {given.shape}: use it on wrap(env)."
            )
        with torch.inference_mode():
            x = torch.from_numpy(np.array(given, np.float32))
            found = self.head(x[:, : self.reader.text_width], x[:, self.reader.text_width :]).double().numpy()
        return self.rounded(found[..., 0], found[..., 1], _DECIMALS)

    def batch_size(self, observation: Any, episode_start: Any) -> int | None:
        """A single observation is a vector."""
        return None if np.ndim(observation) == 1 else len(observation)

    def save_pretrained(self, path: str | Path) -> None:
        """Write weights, tokenizer, encoder, model card and, last, ``helper.json``, which marks it as complete."""
        from selfreg_gym.agents.helpers._lm_export import write_gain_card
        from selfreg_gym.lm.gain_model import save_head
        from selfreg_gym.utils.files import set_default_modes

        folder = _RECORD.begin(path)
        self.backbone.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        save_head(self.head, folder)
        set_default_modes(*folder.glob("*.safetensors"))
        if self.encoder is not None:
            self.encoder.save(folder / "inputs")
        write_gain_card(self, folder)
        _RECORD.write(
            folder,
            prices=list(self.prices),
            costs=list(self.costs),
            position=self.position,
            always=self.always,
            facts=self.facts,
            inputs=[] if self.encoder is None else list(self.encoder.names),
            info=self.info,
        )

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        dtype: str | None = None,
        device: str | None = None,
        seed: int = 0,
        memo: int = 50_000,
    ) -> LMHelper:
        """Load what :meth:`save_pretrained` wrote.

        Args:
            path: the folder.
            dtype, device: of the backbone; None: those of its training (the CPU if that device does not exist).
            seed: seed of the coins at the ends of the axis of prices.
            memo: number of prompts whose features are kept in memory.

        Raises:
            CheckpointError: the directory has no complete helper with value heads, or weights that are missing,
                unknown, of another shape or not finite.
        """
        from selfreg_gym.inputs import InputEncoder
        from selfreg_gym.lm.gain_model import TEXT_FEATURES, load_head
        from selfreg_gym.lm.loading import load_causal, load_tokenizer, trained_with

        folder = Path(path)
        if saved_format(folder / _RECORD.file) in _ANSWERS:
            raise CheckpointError(
                f"{str(path)!r} holds a helper that answers with tokens, not one with value heads: load it with "
                "LMSFTHelper (the helper lm-sft)."
            )
        _, fields = _RECORD.read(folder)
        names = fields.pop("inputs")
        encoder = InputEncoder.load(folder / "inputs") if names else None
        if encoder is not None and list(encoder.names) != names:
            raise CheckpointError(
                f"the encoder in {str(folder / 'inputs')!r} must have the inputs {names}, and has "
                f"{list(encoder.names)}: copy the directory again, or train again."
            )
        dtype, device = trained_with(fields["info"], dtype=dtype, device=device)
        backbone = load_causal(folder, dtype=dtype, device=device)
        head = load_head(
            folder,
            text=TEXT_FEATURES * int(backbone.config.get_text_config().hidden_size),
            numbers=0 if encoder is None else encoder.width,
            prices=fields["prices"],
            interventions=len(fields["costs"]),
        )
        return cls(backbone, load_tokenizer(folder), head, encoder=encoder, seed=seed, memo=memo, **fields)
