"""Shell sessions: commands by one name share a working directory and an environment, one after the other. Pure.

Each command is a bash of its own, which takes up what the last one left behind and leaves the same for the next: so a
command that fails, is ended or runs for ever never breaks the session, its exit status and its two streams are its
own, and whatever goes wrong with the state costs no more than the state. It stands in the machine: reset, snapshot
and fork have it as it was. Each user has sessions of their own, and takes up none that another made.
"""

from __future__ import annotations

import shlex

from pyro_mcp.errors import Unsupported
from pyro_mcp.workspaces.occupancy import BASH

MAX_STATE = 4_000_000
"""Characters of what is kept; more is not."""

_BEGIN = r"""
__pyro_home=/run/pyro-sessions/@$EUID
__pyro_state=$__pyro_home/@NAME@
__pyro_save() {
  POSIXLY_CORRECT=1  # from here on unset, eval and trap are the shell's own, whatever functions the command made
  set +euxCf
  unset -f unset set declare builtin printf umask trap [ eval cd exit local mapfile return
  unset POSIXLY_CORRECT BASH_EXECUTION_STRING __pyro_cwd __pyro_left @SECRETS@
  IFS=$' \t\n'
  local __pyro_kept
  __pyro_kept=$(declare -p; declare -f; umask -p; printf '__pyro_cwd=%q\n' "$PWD")
  umask 022  # for /run/pyro-sessions; what is in there is for its user alone
  [ "${#__pyro_kept}" -lt @MOST@ ] || return 0
  /bin/mkdir -p -m 700 "$__pyro_home" && [ -O "$__pyro_home" ] && [ ! -L "$__pyro_home" ] &&
    printf '%s\n#whole' "$__pyro_kept" >| "$__pyro_state.$$" && /bin/mv -f "$__pyro_state.$$" "$__pyro_state"
} 2>/dev/null
__pyro_left=
[ -O "$__pyro_home" ] && [ ! -L "$__pyro_home" ] && [ -f "$__pyro_state" ] &&
  mapfile -d '' -t __pyro_left < "$__pyro_state" 2>/dev/null
if [[ $__pyro_left == *'#whole' ]]; then
  eval "$__pyro_left" 2>/dev/null
  cd -- "$__pyro_cwd" 2>/dev/null || {
    cd /workspace
    printf 'pyro: the session was in %s, which is gone; running in %s instead\n' "$__pyro_cwd" "$PWD" >&2
  }
fi
unset __pyro_left
"""
_SAVES = "trap '__pyro_save' EXIT\n"


def argv_in_session(
    name: str, command: str | list[str], shell: str, *, cwd: str | None, secrets: list[str], keeps: bool = True
) -> list[str]:
    """The command as it runs in a session.

    Args:
        cwd: where it shall run, other than where the session was left.
        secrets: variables that the session does not keep.
        keeps: the session is then as the command leaves it; a command in the background only begins there.

    Raises:
        Unsupported: the environment's shell is not bash.
    """
    if shell != BASH:
        raise Unsupported(
            f"A session needs {BASH}; this environment has {shell}.",
            hint="Omit session, and put `cd` and variables in each command.",
            code="no_bash",
        )
    text = command if isinstance(command, str) else shlex.join(command)
    begin = _BEGIN.replace("@NAME@", name).replace("@SECRETS@", " ".join(secrets)).replace("@MOST@", str(MAX_STATE))
    if not keeps:
        begin += "unset -f __pyro_save\n"
    place = f"cd -- {shlex.quote(cwd)} || exit\n" if cwd else ""
    return [BASH, "-c", begin + (_SAVES if keeps else "") + place + f"eval {shlex.quote(text)}\n"]
