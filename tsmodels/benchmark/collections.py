"""Which data sets the archives consist of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tsmodels.benchmark._errors import RequestError

__all__ = ["COLLECTIONS", "UCR", "UCR_112", "UEA", "UEA_26", "found_sets"]


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# The names are those of aeon's datasets/tsc_datasets.py.
UCR = _names(
    """
    ACSF1 Adiac AllGestureWiimoteX AllGestureWiimoteY AllGestureWiimoteZ ArrowHead BME Beef BeetleFly BirdChicken
    CBF Car Chinatown ChlorineConcentration CinCECGTorso Coffee Computers CricketX CricketY CricketZ Crop
    DiatomSizeReduction DistalPhalanxOutlineAgeGroup DistalPhalanxOutlineCorrect DistalPhalanxTW DodgerLoopDay
    DodgerLoopGame DodgerLoopWeekend ECG200 ECG5000 ECGFiveDays EOGHorizontalSignal EOGVerticalSignal Earthquakes
    ElectricDevices EthanolLevel FaceAll FaceFour FacesUCR FiftyWords Fish FordA FordB FreezerRegularTrain
    FreezerSmallTrain Fungi GestureMidAirD1 GestureMidAirD2 GestureMidAirD3 GesturePebbleZ1 GesturePebbleZ2
    GunPoint GunPointAgeSpan GunPointMaleVersusFemale GunPointOldVersusYoung Ham HandOutlines Haptics Herring
    HouseTwenty InlineSkate InsectEPGRegularTrain InsectEPGSmallTrain InsectWingbeatSound ItalyPowerDemand
    LargeKitchenAppliances Lightning2 Lightning7 Mallat Meat MedicalImages MelbournePedestrian
    MiddlePhalanxOutlineAgeGroup MiddlePhalanxOutlineCorrect MiddlePhalanxTW MixedShapesRegularTrain
    MixedShapesSmallTrain MoteStrain NonInvasiveFetalECGThorax1 NonInvasiveFetalECGThorax2 OSULeaf OliveOil PLAID
    PhalangesOutlinesCorrect Phoneme PickupGestureWiimoteZ PigAirwayPressure PigArtPressure PigCVP Plane PowerCons
    ProximalPhalanxOutlineAgeGroup ProximalPhalanxOutlineCorrect ProximalPhalanxTW RefrigerationDevices Rock
    ScreenType SemgHandGenderCh2 SemgHandMovementCh2 SemgHandSubjectCh2 ShakeGestureWiimoteZ ShapeletSim ShapesAll
    SmallKitchenAppliances SmoothSubspace SonyAIBORobotSurface1 SonyAIBORobotSurface2 StarLightCurves Strawberry
    SwedishLeaf Symbols SyntheticControl ToeSegmentation1 ToeSegmentation2 Trace TwoLeadECG TwoPatterns UMD
    UWaveGestureLibraryAll UWaveGestureLibraryX UWaveGestureLibraryY UWaveGestureLibraryZ Wafer Wine WordSynonyms
    Worms WormsTwoClass Yoga
    """
)

# series of unequal length, missing values, and Fungi, which has one training case to a class
_NOT_IN_112 = _names(
    """
    AllGestureWiimoteX AllGestureWiimoteY AllGestureWiimoteZ DodgerLoopDay DodgerLoopGame DodgerLoopWeekend Fungi
    GestureMidAirD1 GestureMidAirD2 GestureMidAirD3 GesturePebbleZ1 GesturePebbleZ2 MelbournePedestrian PLAID
    PickupGestureWiimoteZ ShakeGestureWiimoteZ
    """
)
UCR_112 = tuple(name for name in UCR if name not in _NOT_IN_112)

UEA = _names(
    """
    ArticularyWordRecognition AtrialFibrillation BasicMotions CharacterTrajectories Cricket DuckDuckGeese ERing
    EigenWorms Epilepsy EthanolConcentration FaceDetection FingerMovements HandMovementDirection Handwriting
    Heartbeat InsectWingbeat JapaneseVowels LSST Libras MotorImagery NATOPS PEMS-SF PenDigits PhonemeSpectra
    RacketSports SelfRegulationSCP1 SelfRegulationSCP2 SpokenArabicDigits StandWalkJump UWaveGestureLibrary
    """
)

_OF_UNEQUAL_LENGTH = ("CharacterTrajectories", "InsectWingbeat", "JapaneseVowels", "SpokenArabicDigits")
UEA_26 = tuple(name for name in UEA if name not in _OF_UNEQUAL_LENGTH)

COLLECTIONS = {"UCR": UCR, "UEA": UEA}


def found_sets(archive: str, load: Callable[[str], Any] | None = None) -> tuple[list[str], list[str]]:
    """Return which sets of an archive are on this machine, and which are not.

    Parameters
    ----------
    archive : {"UCR", "UEA"}
    load : callable, optional
        From a name to the data; raises OSError or ValueError if it is not there. By default the files are looked for
        as by :func:`tsmodels_datamodules.load_archive`, without a download.

    Raises
    ------
    RequestError
        If there is no such archive, or none of its sets is there.
    """
    if archive not in COLLECTIONS:
        raise RequestError(f"archive must be one of {', '.join(COLLECTIONS)}; got {archive!r}.")
    found, missing = [], []
    for name in COLLECTIONS[archive]:
        (found if _is_there(name, archive, load) else missing).append(name)
    if not found:
        raise RequestError(
            f"none of the {len(missing)} sets of the {archive} archive is on this machine: name the folder that holds "
            "them in the environment variable TSMODELS_DATA, or name sets to have them downloaded."
        )
    return found, missing


def _is_there(name: str, archive: str, load: Callable[[str], Any] | None) -> bool:
    from tsmodels_datamodules._archive import find_archive

    try:
        find_archive(name, archive=archive, download=False) if load is None else load(name)
    except (OSError, ValueError):
        return False
    return True
