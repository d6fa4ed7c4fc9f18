"""`lcm-daemon service`: starts a show with the machine, by systemd, launchd or the Task Scheduler of Windows."""
