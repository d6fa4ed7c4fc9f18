"""`lcm-daemon soak`: plays a copy of a show for hours, causes faults, and judges what an audience would have seen.

    course.py    what happens, in its order          fault_table.py   the faults, each with what is expected of it
    scene.py     what a fault acts on                verdict.py       limits, and what was within them
    timeline.py  the frames that came out            report.py        the page
"""
