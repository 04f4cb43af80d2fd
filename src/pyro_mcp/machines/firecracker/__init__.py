"""The Firecracker engine: a virtual machine with a Linux kernel of its own, on KVM, without privileges."""
