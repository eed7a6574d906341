"""Classify gestures by their shapes, and see which: train a ShapeFormer, draw what it found in a test case.

The data are RacketSports, strokes seen by a smart watch on the wrist, if the folder that TSMODELS_DATA names holds
them; else BasicMotions, which comes with sktime.

    python examples/explain_gestures.py [--fast] [--output explain_gestures.png]
"""

import argparse
from pathlib import Path

import numpy as np

from tsmodels.estimators import ShapeFormerClassifier
from tsmodels.plots import plot_explanation
from tsmodels_datamodules import ArchiveSet, DataNotFoundError, load_archive

CHANNELS = [f"{sensor} {axis}" for sensor in ("acceleration", "rotation") for axis in "xyz"]  # of both sets


def load() -> ArchiveSet:
    """Return training and test cases."""
    try:
        return load_archive("RacketSports", download=False)
    except DataNotFoundError:
        print("RacketSports is not in TSMODELS_DATA: BasicMotions instead")
    return load_archive("BasicMotions", download=False)


def main() -> None:
    """Train, measure, explain, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="two epochs: to see that it runs")
    parser.add_argument("--output", type=Path, default=Path("explain_gestures.png"), help="picture to write")
    arguments = parser.parse_args()

    data = load()
    classifier = ShapeFormerClassifier(random_state=0)
    if arguments.fast:
        classifier.set_params(max_epochs=2, n_shapelets=3)
    classifier.fit(data.X_train, data.y_train)
    print(f"shapelets found in {classifier.history_['preparation_seconds']:.1f} s")
    print(f"accuracy on {len(data.y_test)} test cases: {classifier.score(data.X_test, data.y_test):.3f}")

    confidence = classifier.predict_proba(data.X_test).max(axis=1)
    cases = data.X_test[int(np.argmax(confidence)), None]  # chosen by the network's own word, not by the labels
    explanation = classifier.explain(cases)
    present = explanation[explanation["present"]]
    print(f"{len(present)} of {len(explanation)} shapelets are there, by class:")
    print(present["class"].value_counts().to_string())

    classes = classifier.classes_.tolist()
    figure = plot_explanation(cases, explanation, top=8, order="match", channels=CHANNELS, classes=classes)
    figure.savefig(arguments.output, dpi=110)
    print("picture:", arguments.output)


if __name__ == "__main__":
    main()
