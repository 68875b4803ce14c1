# The public names. Where they are imported from, at run time and by type checkers, is said here and
# nowhere else: lazy_loader reads this file too, and imports a module when a name is first used.

from . import datasets as datasets
from . import ensembles as ensembles
from . import export as export
from . import metrics as metrics
from . import nn as nn
from . import peers as peers
from . import persistence as persistence
from . import plotting as plotting
from . import presets as presets
from . import pretrained as pretrained
from . import separators as separators
from . import training as training
from . import transformers as transformers
from .audio import AudioSource as AudioSource
from .audio import WaveformCache as WaveformCache
from .audio import load_audio as load_audio
from .ensembles import MultiTargetSeparator as MultiTargetSeparator
from .ensembles import TestTimeAugmentation as TestTimeAugmentation
from .ensembles import VotingSeparator as VotingSeparator
from .export import export_onnx as export_onnx
from .inference import Separation as Separation
from .inference import StreamingSeparator as StreamingSeparator
from .inference import load_model as load_model
from .inference import separate as separate
from .inference import vocal_activity as vocal_activity
from .persistence import load as load
from .persistence import save as save
from .pretrained import load_pretrained as load_pretrained
from .separators import DeepClusteringSeparator as DeepClusteringSeparator
from .separators import HPSSSeparator as HPSSSeparator
from .separators import HybridClusteringSeparator as HybridClusteringSeparator
from .separators import MixtureSeparator as MixtureSeparator
from .separators import ModuleSeparator as ModuleSeparator
from .separators import NMFSeparator as NMFSeparator
from .separators import OracleMaskSeparator as OracleMaskSeparator
from .separators import RepetSimSeparator as RepetSimSeparator
from .separators import RobustPCASeparator as RobustPCASeparator
from .separators import UHNetSeparator as UHNetSeparator
from .separators import UNetSeparator as UNetSeparator
from .training import Augmentation as Augmentation
from .transformers import GriffinLimInverter as GriffinLimInverter
from .transformers import MaskBuilder as MaskBuilder
from .transformers import MelChunker as MelChunker

__all__: list[str]
__version__: str
