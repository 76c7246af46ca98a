"""What `make test-vm` runs inside its virtual machine (docs/test-vm.md); no part of `make test`."""
