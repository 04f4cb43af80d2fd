"""Two workspaces want the same of the real registries: the second opens no connection out, and sees nothing else."""

from __future__ import annotations

import shlex

from pyro_mcp.sdk import Pyro
from tests.engine.test_network_policy import connections, index_host
from tests.support import Installation

DOWNLOAD = """
cd $(mktemp -d); export PYTHONPATH=$(echo /usr/share/python-wheels/pip-*.whl)
python3 -m pip download -q --no-cache-dir --no-deps six==1.16.0 && sha256sum *.whl
"""
ISSUER = "curl -sSvo /dev/null https://pypi.org/simple/six/ 2>&1 | grep -i issuer:"


def test_the_second_workspace_fetches_nothing_from_outside(fresh: Installation) -> None:
    index_host()
    with Pyro() as pyro:
        pyro.prune_cache()  # installations of tests share it
        first = pyro.create_workspace(network_policy="egress", allow_domains=["pypi.org", "files.pythonhosted.org"]).id
        one = pyro.exec_workspace(first, DOWNLOAD, timeout_seconds=120, wait_seconds=50)
        assert one.exit_code == 0 and "six-1.16.0" in one.stdout, one
        before = pyro.inspect_cache()
        assert before.connections >= 1 and before.answers >= 2
        second = pyro.create_workspace(network_policy="egress", allow_domains=["pypi.org", "files.pythonhosted.org"]).id
        two = pyro.exec_workspace(second, DOWNLOAD, timeout_seconds=120, wait_seconds=50)
        assert two.stdout == one.stdout and two.exit_code == 0
        assert pyro.inspect_cache().connections == before.connections
        found = connections(pyro, second, 2)
        assert {event.summary.rpartition("(")[2] for event in found} == {"1 from the cache)"}, found

        # A program that knows no variables of ours sees the registry's own certificate.
        named = pyro.exec_workspace(second, f"{ISSUER}; env -i bash -c {shlex.quote(ISSUER)}").stdout.splitlines()
        assert ["pyro workspace" in line for line in named] == [True, False], named

        # What a guest makes up is not kept: other hosts in its requests, credentials, garbage in a path.
        kept = pyro.inspect_cache().answers
        tricks = (
            "curl -sS -o /dev/null -H 'Host: evil.example' https://pypi.org/simple/six/",
            "curl -sS -o /dev/null -H 'Authorization: Basic eDp5' https://pypi.org/simple/attrs/",
            "curl -sS -o /dev/null 'https://pypi.org/simple/attrs/?garbage=1'",
            "curl -sS -o /dev/null --connect-to pypi.org:443:files.pythonhosted.org:443 -k https://pypi.org/simple/attrs/",
        )
        pyro.exec_workspace(second, "; ".join(tricks))
        assert pyro.inspect_cache().answers == kept

        # A host that is not allowed stays refused, though its answers are here.
        third = pyro.create_workspace(network_policy="egress", allow_domains=["example.org"]).id
        refused = pyro.exec_workspace(third, "curl -sS https://pypi.org/simple/six/")
        assert refused.exit_code != 0 and [each.host for each in refused.refused] == ["pypi.org"]

        assert not pyro.configure_cache(enabled=False).enabled
        fourth = pyro.create_workspace(network_policy="egress").id
        assert "pyro workspace" not in pyro.exec_workspace(fourth, ISSUER).stdout
        assert pyro.prune_cache().freed_bytes > 0
        assert pyro.inspect_cache().size_bytes == 0 and not pyro.list_cache().answers
        for workspace in (first, second, third, fourth):
            pyro.delete_workspace(workspace)
