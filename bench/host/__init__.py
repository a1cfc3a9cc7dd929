"""Everything that runs on a KVM host, pushed there as one file. Standard library plus qemu.qmp; Python 3.9."""
