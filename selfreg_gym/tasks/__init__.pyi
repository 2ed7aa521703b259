from .gem import GEMTask as GEMTask
from .text_adapter import Ending as Ending
from .text_adapter import TextAdapter as TextAdapter
from .textarena import TextArenaTask as TextArenaTask
