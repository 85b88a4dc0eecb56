"""rtot: run this over there. A job server that you curl.

The rooms of the house, each a package with one concern. A room imports those that its line
names, and the modules that stand here beside it, which everybody speaks:

    (here)   clock, config, deadlines, storage, text, throttle
    http     bytes into messages and back                   knows h11
    jobs     the job table: what is to be run, and what became of it
    api      what a request means                           imports http, jobs
    system   the kernel, the disk, the network              imports values of http, jobs
    loop     the turn: selector, clock, signals             imports all of these
    cli      argv and environment                           imports all of these

`http`, `jobs` and `api` are the cores: no I/O, and what time it is is an argument. They are
told facts (past tense), and what they want done they answer as data. `tests/test_rooms.py`
holds the table true, and the tests lie in the same rooms.

One turn of the loop (`loop.server`):

    observe  connections accepted, bytes received, pipes read, exits noted
    expire   every deadline that has come
    decide   requests answered
    act      the job table's commands carried out
    flush    answers sent as far as clients take them
    start    the next job spawned, last, because it alone takes long
"""

__version__ = "1.0.0"
