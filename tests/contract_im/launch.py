"""Starts the real Infrastructure Manager for tests/contract_im.rs: launch.py DIRECTORY PORT [remove]

IM reads its settings only from /etc/im and beside its package, so they are set here, before
anything else of IM is imported. The server ends when its standard input closes, that is, with the
process that started it; with `remove` it then removes its directory.
"""

import os
import shutil
import sys
import threading

directory, port = sys.argv[1], int(sys.argv[2])
# IM keeps the cache of TOSCA imports in the working directory.
os.chdir(directory)

from IM.config import Config  # noqa: E402

Config.REST_ADDRESS = "127.0.0.1"
Config.REST_PORT = port
Config.LOG_FILE = os.path.join(directory, "inf.log")
Config.DATA_DB = "sqlite://" + os.path.join(directory, "inf.db")
Config.VM_INFO_UPDATE_FREQUENCY = 1
Config.CONFMAMAGER_CHECK_STATE_INTERVAL = 1
Config.CHECK_CTXT_PROCESS_INTERVAL = 1


def end_with_parent():
    while os.read(0, 4096):
        pass
    if "remove" in sys.argv[3:]:
        shutil.rmtree(directory, ignore_errors=True)
    os._exit(0)


threading.Thread(target=end_with_parent, daemon=True).start()

from IM import im_service  # noqa: E402

im_service.config_logging()
im_service.launch_daemon()
