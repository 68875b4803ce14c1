from ._deep_clustering import DeepClusteringSeparator as DeepClusteringSeparator
from ._hpss import HPSSSeparator as HPSSSeparator
from ._hybrid_clustering import HybridClusteringSeparator as HybridClusteringSeparator
from ._mixture import MixtureSeparator as MixtureSeparator
from ._module import ModuleSeparator as ModuleSeparator
from ._net_separator import NetSeparator as NetSeparator
from ._nmf import NMFSeparator as NMFSeparator
from ._oracle import OracleMaskSeparator as OracleMaskSeparator
from ._repet_sim import RepetSimSeparator as RepetSimSeparator
from ._robust_pca import RobustPCASeparator as RobustPCASeparator
from ._uhnet import UHNetSeparator as UHNetSeparator
from ._unet import UNetSeparator as UNetSeparator

__all__: list[str]
