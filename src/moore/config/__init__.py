"""The configuration of a run: frozen dataclasses, read from and written to TOML.

Field names follow Algorithm 1 of the paper. The text under a field is its help on the command line
and gives the paper's symbol; the bounds of a number stand in its type (`moore.ranges`). The
settings of each agent and of the models stand in the modules that use them.
"""

from moore.config.evaluation import EvaluationConfig as EvaluationConfig
from moore.config.files import from_dict as from_dict
from moore.config.files import known_settings as known_settings
from moore.config.files import read_toml as read_toml
from moore.config.files import to_dict as to_dict
from moore.config.files import to_toml as to_toml
from moore.config.gate import GateConfig as GateConfig
from moore.config.offline import OfflineConfig as OfflineConfig
from moore.config.online import OnlineConfig as OnlineConfig
from moore.config.run import Config as Config
from moore.tables import flat as flat
