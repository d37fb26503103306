"""Changed keys of sources, looked at one by one, while nothing is listed.

    told --written down--> line of keys --> what is there now? --> new | changed | gone | as it was

    matching.py    which sources an object of a bucket lies in
    line.py        the keys of one collection that wait, and what becomes of them
    session.py     the means of a run, kept for as long as keys keep coming
    apart.py       a whole source, gone through in a process of its own
    some_keys.py   the same decisions as those of a run that lists, over some keys
    changes.py     all lines of a service
    watch.py       files of folders that change

What tells of a change is never believed, only acted upon: whatever is at the key when it is looked
at decides. So changes may be told twice, in any order, and late.
"""
