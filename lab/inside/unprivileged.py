"""Runs another task of the lab as an ordinary user who may open /dev/kvm, and nothing more."""

from __future__ import annotations

import os
import subprocess
import sys

USER = "pyro-test"


def main() -> int:
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", USER], check=True)
    for path in ("/etc/subuid", "/etc/subgid"):
        with open(path, "w") as file:
            file.write(f"{USER}:100000:65536\n")
    subprocess.run(["groupadd", "--force", "kvm"], check=True)
    subprocess.run(["usermod", "--append", "--groups", "kvm", USER], check=True)
    subprocess.run(["chgrp", "kvm", "/dev/kvm"], check=True)
    os.chmod("/dev/kvm", 0o660)
    subprocess.run(["chown", "-R", USER, "/cache/pyro", "/root"], check=True)
    os.chmod("/root", 0o755)
    os.chmod("/tmp", 0o1777)
    # Keeps the environment, and the supplementary group that may open /dev/kvm.
    argv = ["setpriv", "--reuid", USER, "--regid", USER, "--init-groups", "--", sys.executable, "-m", *sys.argv[1:]]
    return subprocess.run(argv, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
