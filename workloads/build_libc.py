"""Builds `workloads._libc`: the calls of an init that Python's standard library lacks. API mode, abi3 with setuptools.

Every function returns 0 or -errno. Python's `ctypes` would do the same at four times the start-up cost in the guest.
"""

from cffi import FFI

ffi = FFI()
ffi.cdef("""
    int libc_mount(const char *source, const char *target, const char *type, const char *options);
    int libc_load_module(int fd, const char *parameters);
    int libc_power_off(void);
""")
ffi.set_source(
    "workloads._libc",
    """
    #include <errno.h>
    #include <sys/mount.h>
    #include <sys/reboot.h>
    #include <sys/syscall.h>
    #include <unistd.h>

    static int libc_mount(const char *source, const char *target, const char *type, const char *options)
    {
        return mount(source, target, type, 0, options) ? -errno : 0;
    }

    static int libc_load_module(int fd, const char *parameters)
    {
        return syscall(SYS_finit_module, fd, parameters, 0) ? -errno : 0;
    }

    /* Returns only when the kernel refused: not allowed, or no way to switch off. */
    static int libc_power_off(void)
    {
        return reboot(RB_POWER_OFF) ? -errno : 0;
    }
    """,
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
