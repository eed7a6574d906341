"""Two CPU processes of one training: every case once, on the ranks together, as with one process."""

import json
import subprocess
import sys

import pytest

SCRIPT = '''
import json
import sys
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from tsmodels_datamodules import ArchiveDataModule

class Probe(LightningModule):
    """Writes down which cases each rank sees."""

    def __init__(self, file):
        super().__init__()
        self.layer, self.file = torch.nn.Linear(6, 4), file
        self.seen = {"train": [], "val": [], "test": [], "predict": []}

    def note(self, batch, part):
        self.seen[part] += batch["x"][:, 0, 0].tolist()
        return self.layer(batch["x"].mean(1))

    def training_step(self, batch):
        return torch.nn.functional.cross_entropy(self.note(batch, "train"), batch["y"])

    def validation_step(self, batch):
        self.note(batch, "val")

    def test_step(self, batch):
        self.note(batch, "test")

    def predict_step(self, batch):
        return self.note(batch, "predict")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def teardown(self, stage):
        Path(f"{self.file}-{self.global_rank}.json").write_text(json.dumps(self.seen))

if __name__ == "__main__":
    devices, folder = int(sys.argv[1]), Path(sys.argv[2])
    strategy = "ddp_fork" if devices > 1 else "auto"  # forks need not import everything again
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    quiet["num_sanity_val_steps"] = 0
    trainer = Trainer(max_epochs=1, accelerator="cpu", devices=devices, strategy=strategy, **quiet)
    data = ArchiveDataModule("BasicMotions", batch_size=4, val_fraction=0.2, download=False)
    for stage, run in (("fit", trainer.fit), ("test", trainer.test), ("predict", trainer.predict)):
        run(Probe(folder / stage), datamodule=data)
'''


@pytest.mark.slow
def test_every_case_once(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    seen = {}
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        folder.mkdir()
        subprocess.run([sys.executable, tmp_path / "script.py", str(devices), folder], check=True, timeout=300)
        ranks = [
            {part: values for stage in ("fit", "test", "predict") for part, values in read(folder, stage, rank).items()}
            for rank in range(devices)
        ]
        seen[devices] = {part: sorted(value for rank in ranks for value in rank[part]) for part in ranks[0]}
        assert all(rank[part] for rank in ranks for part in rank)  # every rank has its share
    assert {part: len(values) for part, values in seen[1].items()} == {"train": 32, "val": 8, "test": 40, "predict": 40}
    assert seen[2] == seen[1]


def read(folder, stage, rank):
    return {
        part: values for part, values in json.loads((folder / f"{stage}-{rank}.json").read_text()).items() if values
    }
