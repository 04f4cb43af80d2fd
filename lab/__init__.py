"""The nested lab: real Firecracker where KVM cannot run a guest.

QEMU emulates, in software, a computer whose CPU has AMD's virtualization (SVM). The Linux that runs there has
a working /dev/kvm, and in it pyro's tests run as anywhere else. Ten to fifteen times slower than hardware; what
it proves is behaviour, not speed, which is why its figures are ratios.

Needs root once for: apt-get install qemu-system-x86 mmdebstrap e2fsprogs
"""
