"""``python -m selfreg_gym.cli``, the same as ``selfreg``."""

from selfreg_gym.cli import main

if __name__ == "__main__":
    main()
