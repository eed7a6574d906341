import sys
from pathlib import Path

# With --import-mode=importlib a test folder is not on the path: this makes `scan2d` importable by the tests beside it.
sys.path.insert(0, str(Path(__file__).parent))
