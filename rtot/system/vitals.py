"""What the kernel knows of this process (proc(5)), under the names that all exporters use."""

import os
import resource
from collections.abc import Iterator

from rtot.metrics import Family, counter, gauge
from rtot.system.proc import boot_time, read_usage


class ProcessVitals:
    """Read anew whenever somebody asks."""

    def families(self) -> Iterator[Family]:
        """As metrics.Source. What cannot be read is left out."""
        try:
            usage = read_usage()
            booted = boot_time()
        except OSError:
            return
        yield counter("process_cpu_seconds_total", "Processor time, user and system.", usage.cpu)
        yield gauge("process_resident_memory_bytes", "Resident memory.", usage.resident)
        yield gauge("process_virtual_memory_bytes", "Virtual memory.", usage.virtual)
        yield gauge(
            "process_start_time_seconds",
            "When the process was started, since the epoch.",
            booted + usage.started,
        )
        yield gauge("process_open_fds", "Open file descriptors.", _open_files())
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        yield gauge("process_max_fds", "The limit of open file descriptors.", limit)


def _open_files() -> int:
    # Linux 6.2 and newer tell the number; before, the entries have to be counted.
    return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd")) - 1
