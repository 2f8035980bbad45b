"""The durable log of decisions and events, and what learners read from it."""

from decider.logbook.attribution import Attributed, RewardSpec, attribute
from decider.logbook.feedback import Feedback
from decider.logbook.logged import assemble_feedback
from decider.logbook.store import Logbook
from decider.logbook.trial import TrialSpec, import_trial

__all__ = [
    "Attributed",
    "Feedback",
    "Logbook",
    "RewardSpec",
    "TrialSpec",
    "assemble_feedback",
    "attribute",
    "import_trial",
]
